package drivers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// mcpPowerOn is the registers 0x00 to 0x13 after power on (table 3-5): all pins
// are inputs, everything else is 0.
func mcpPowerOn() []byte {
	regs := make([]byte, mcpRegisters)
	regs[0x00], regs[0x01] = 0xff, 0xff
	return regs
}

// mcpOps are opening pin B3 (bit 0x08) with its pull-up, after power on, and looks
// that find port B at these levels.
func mcpOps(levels ...byte) []i2ctest.IO {
	all := func(pullUpB, levelB byte) i2ctest.IO {
		regs := mcpPowerOn()
		regs[0x0d], regs[0x13] = pullUpB, levelB
		return i2ctest.IO{Addr: 0x20, W: []byte{0x00}, R: regs}
	}
	ops := []i2ctest.IO{
		all(0, 0),
		{Addr: 0x20, W: []byte{0x01}, R: []byte{0xff}}, // IODIRB: it is an input
		{Addr: 0x20, W: []byte{0x03}, R: []byte{0x00}}, // IPOLB: it is not inverted
		{Addr: 0x20, W: []byte{0x0d}, R: []byte{0x00}}, // GPPUB
		{Addr: 0x20, W: []byte{0x0d, 0x08}},
		all(0x08, 0x08),
	}
	for _, level := range levels {
		ops = append(ops, all(0x08, level))
	}
	return ops
}

func pinB3() *mcp23017Options {
	o := newMCP23017().(*mcp23017Options)
	o.Pin = "B3"
	return o
}

func TestMCP23017SetsUpItsPinAndReadsItsLevel(t *testing.T) {
	for level, want := range map[byte]float64{0x08: 1, 0xf7: 0} {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2ctest.Playback{Ops: mcpOps(level, level), DontPanic: true} // seen, and held for 50 ms
			samples, err := once(t, pinB3(), bus)
			if err != nil || len(samples) != 1 || samples[0].Value != want {
				t.Errorf("0x%02x: %v, %v; want %v", level, samples, err, want)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// mcpChip is a fake MCP23017 by its datasheet, with inputs only.
type mcpChip struct {
	*i2cfake.Bus
	mu   sync.Mutex
	regs []byte
}

func newMCPChip() *mcpChip {
	x := &mcpChip{regs: mcpPowerOn()}
	x.Bus = &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
		runtime.Gosched() // a transfer takes its time
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(w) == 2 {
			x.regs[w[0]] = w[1]
		}
		copy(r, x.regs[w[0]:])
		return nil
	}}
	return x
}

func (x *mcpChip) set(reg int, value byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.regs[reg] = value
}

// TestPinsOfOnePartAreIndependent opens 16 sensors at once: between reading
// and writing a register nobody else writes it.
func TestPinsOfOnePartAreIndependent(t *testing.T) {
	x := newMCPChip()
	x.regs[0x00], x.regs[0x02], x.regs[0x0c] = 0x00, 0xff, 0x00
	h := wired(x)
	var all sync.WaitGroup
	for n := range 16 {
		o := newMCP23017().(*mcp23017Options)
		o.Pin = fmt.Sprintf("%c%d", "AB"[n/8], n%8)
		if o.Pin == "A4" { // not ours
			continue
		}
		all.Go(func() {
			s, err := o.Open(t.Context(), h)
			if err != nil {
				t.Error(o.Pin, err)
				return
			}
			defer s.Close()
		})
	}
	all.Wait()
	for reg, want := range map[int]byte{0x00: 0xef, 0x01: 0xff, 0x02: 0x10, 0x03: 0x00, 0x0c: 0xef, 0x0d: 0xff} {
		if x.regs[reg] != want {
			t.Errorf("register 0x%02x is 0x%02x, want 0x%02x", reg, x.regs[reg], want)
		}
	}
}

func TestMCP23017ReportsAChangeAndThatItsPowerDipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, o := newMCPChip(), pinB3()
		x.set(MCPLevel+1, 0x08)
		s, err := o.Open(t.Context(), wired(x))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Next(t.Context()); err != nil || got[0].Value != 1 {
			t.Fatal(got, err)
		}
		x.set(MCPLevel+1, 0x00)
		start := time.Now()
		got, err := s.Next(t.Context())
		if took := time.Since(start); err != nil || got[0].Value != 0 || took > o.Poll+60*time.Millisecond {
			t.Fatal(got, err, took)
		}
		x.set(mcpPullUp+1, 0x00)
		_, err = s.Next(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(),
			"pin B3: read the level: i2c-1 0x20: the pin has lost its settings") {
			t.Fatal(err)
		}
		s.Close()
		if s, err = o.Open(t.Context(), wired(x)); err != nil || x.regs[mcpPullUp+1] != 0x08 {
			t.Fatal("not set up again", err)
		}
		s.Close()
	})
}

func TestMCP23017OnAStuckBusIsAnError(t *testing.T) {
	for b := range 256 {
		synctest.Test(t, func(t *testing.T) {
			bus, start := i2cfake.Reading(byte(b)), time.Now()
			samples, err := once(t, pinB3(), bus)
			if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x20: ") {
				t.Errorf("0x%02x: %v, %v", b, samples, err)
			}
			if time.Since(start) > 0 || bus.Count > 10 {
				t.Errorf("0x%02x: %v and %d transfers", b, time.Since(start), bus.Count)
			}
		})
	}
}

func TestMCP23017DoesNotWriteToOtherParts(t *testing.T) {
	for name, regs := range map[string]func([]byte){
		"BANK is set":          func(r []byte) { r[0x0a], r[0x0b] = 0x80, 0x80 },
		"SEQOP is set":         func(r []byte) { r[0x0a], r[0x0b] = 0x20, 0x20 },
		"IOCON has two values": func(r []byte) { r[0x0a] = 0x40 },
	} {
		x := newMCPChip()
		regs(x.regs)
		if _, err := pinB3().Open(t.Context(), wired(x)); err == nil || !strings.Contains(err.Error(), "no MCP23017") ||
			x.Count != 1 {
			t.Errorf("%s: %v after %d transfers", name, err, x.Count)
		}
	}
}

func TestMCP23017FailsAtEachTransfer(t *testing.T) {
	for n := range len(mcpOps(8, 8)) {
		synctest.Test(t, func(t *testing.T) {
			bus := i2cfake.FailAt(&i2ctest.Playback{Ops: mcpOps(8, 8), DontPanic: true}, n, syscall.EREMOTEIO)
			_, err := once(t, pinB3(), bus)
			if !errors.Is(err, syscall.EREMOTEIO) || !strings.HasSuffix(err.Error(), "i2c-1 0x20: no acknowledge") {
				t.Errorf("transfer %d: %v", n, err)
			}
			if bus.Count != n+1 || bus.Closed != 1 {
				t.Errorf("transfer %d: %d transfers, closed %d times", n, bus.Count, bus.Closed)
			}
		})
	}
}

func TestMCP23017StopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := pinB3().Open(t.Context(), wired(newMCPChip()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 13*time.Millisecond {
			t.Error(err, time.Since(start))
		}
	})
}

// FuzzMCP23017: a level is told only of a pin that is set up as we did it, on a
// part in our mode.
func FuzzMCP23017(f *testing.F) {
	f.Add(mcpOps(8)[5].R, uint8(11), true)
	f.Add(mcpPowerOn(), uint8(0), false)
	f.Add(slices.Repeat([]byte{0xff}, mcpRegisters), uint8(15), true)
	f.Fuzz(func(t *testing.T, regs []byte, pin uint8, up bool) {
		if len(regs) != mcpRegisters {
			return
		}
		l := &mcp23017Line{port: int(pin / 8 % 2), bit: 1 << (pin % 8), pull: gpio.PullOff}
		if up {
			l.pull = gpio.PullUp
		}
		high, err := l.decode(regs)
		bit := func(reg int) bool { return regs[reg+l.port]>>(pin%8)&1 == 1 }
		ours := bit(0x00) && !bit(0x02) && bit(0x0c) == up && regs[0x0a] == regs[0x0b] && regs[0x0a]&0xa1 == 0
		if ours != (err == nil) || high != (ours && bit(0x12)) {
			t.Fatalf("%v, %v of % x", high, err, regs)
		}
	})
}

func TestMCP23017OptionsSayWhatIsWrong(t *testing.T) {
	o := newMCP23017().(*mcp23017Options)
	o.Address, o.Pin, o.Pull, o.Poll, o.Mode = 0x28, "C1", gpio.PullDown, time.Millisecond, ""
	var keys []string
	for _, p := range o.Check() {
		keys = append(keys, p.Key)
	}
	if want := []string{"address", "pin", "pull", "poll", "debounce_mode"}; !slices.Equal(keys, want) {
		t.Errorf("problems with %v, want %v", keys, want)
	}
	if p := pinB3().Check(); p != nil {
		t.Error(p)
	}
	for _, pin := range []string{"", "A", "A8", "b3", "B33"} {
		if o.Pin = pin; !slices.ContainsFunc(o.Check(), func(p Problem) bool { return p.Key == "pin" }) {
			t.Errorf("%q is a pin", pin)
		}
	}
	if got := pinB3().Claims(); !slices.Equal(got, []string{"i2c-1 0x20 B3"}) {
		t.Error(got)
	}
}
