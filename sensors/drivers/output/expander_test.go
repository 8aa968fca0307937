package output

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// mcpRegisters are those of an MCP23017 after power on (table 3-5): all pins are inputs,
// everything else is 0; with some of them changed.
func mcpRegisters(changes map[byte]byte) []byte {
	regs := make([]byte, 0x16)
	regs[0x00], regs[0x01] = 0xff, 0xff
	for reg, value := range changes {
		regs[reg] = value
	}
	return regs
}

// TestAnMCP23017LatchesBeforeItDrives has pin A3 (bit 0x08), which is low while the output is
// on, after power on: OLATA is high before IODIRA makes it an output.
func TestAnMCP23017LatchesBeforeItDrives(t *testing.T) {
	op := func(w ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x20, W: w} }
	read := func(reg byte, r ...byte) i2ctest.IO { return i2ctest.IO{Addr: 0x20, W: []byte{reg}, R: r} }
	bus := &i2ctest.Playback{DontPanic: true, Ops: []i2ctest.IO{
		read(0x00, mcpRegisters(nil)...),
		read(0x14, 0x00), op(0x14, 0x08), // OLATA
		read(0x02, 0x00),                 // IPOLA: not inverted already
		read(0x00, 0xff), op(0x00, 0xf7), // IODIRA
		// Get: GPIOA shows the level at the pin.
		read(0x00, mcpRegisters(map[byte]byte{0x00: 0xf7, 0x12: 0x08, 0x14: 0x08})...),
		// Set: on is low. IODIRA is as it should be.
		read(0x00, mcpRegisters(map[byte]byte{0x00: 0xf7, 0x12: 0x08, 0x14: 0x08})...),
		read(0x14, 0x08), op(0x14, 0x00),
		read(0x02, 0x00), read(0x00, 0xf7),
		read(0x00, mcpRegisters(map[byte]byte{0x00: 0xf7})...),
		// Get after a dip of its power: the pin is an input.
		read(0x00, mcpRegisters(nil)...),
	}}
	l := must(t, wired(bus), &mcp23017Options{Bus: 1, Address: 0x20, Pin: "A3", Low: true}, false)
	if on, err := l.Get(t.Context()); on || err != nil {
		t.Errorf("at the start: %v, %v", on, err)
	}
	if err := l.Set(t.Context(), true); err != nil {
		t.Error(err)
	}
	if on, err := l.Get(t.Context()); !on || err != nil {
		t.Errorf("on: %v, %v", on, err)
	}
	if _, err := l.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "lost its settings") {
		t.Errorf("after a dip: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
}

// An mcpChip is a fake MCP23017 by its datasheet, with the level of each pin over time.
type mcpChip struct {
	*i2cfake.Bus
	mu     sync.Mutex
	regs   []byte
	driven [16]bool // pins that were outputs with a level of 1
}

func newMCPChip() *mcpChip {
	x := &mcpChip{regs: mcpRegisters(nil)}
	x.Bus = &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
		runtime.Gosched() // a transfer takes its time
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(w) == 2 {
			x.regs[w[0]] = w[1]
		}
		for port := range 2 { // GPIO: the latch where it drives
			x.regs[0x12+port] = x.regs[0x14+port] &^ x.regs[port]
			for bit := range 8 {
				x.driven[8*port+bit] = x.driven[8*port+bit] || x.regs[0x12+port]&(1<<bit) != 0
			}
		}
		copy(r, x.regs[w[0]:])
		return nil
	}}
	return x
}

// TestPinsOfAnMCP23017AreIndependent has outputs on even pins and contacts on odd ones,
// opened and switched at once. No output is ever on that nobody ordered, and no contact's
// pin becomes an output.
func TestPinsOfAnMCP23017AreIndependent(t *testing.T) {
	x := newMCPChip()
	h := wired(x)
	var all sync.WaitGroup
	for n := range 16 {
		pin := fmt.Sprintf("%c%d", "AB"[n/8], n%8)
		all.Go(func() {
			if n%2 == 1 {
				contact(t, h, pin)
				return
			}
			l, err := openLine(t, h, &mcp23017Options{Bus: 1, Address: 0x20, Pin: pin}, false)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 20 {
				want := n%4 == 0 && i%2 == 0 // a half of them is never on
				err := l.Set(t.Context(), want)
				if on, failed := l.Get(t.Context()); on != want || err != nil || failed != nil {
					t.Errorf("%s: %v, %v, %v; want %v", pin, on, err, failed, want)
				}
			}
		})
	}
	all.Wait()
	if x.regs[0] != 0xaa || x.regs[1] != 0xaa {
		t.Errorf("IODIR is %02x %02x, want the odd pins as inputs", x.regs[0], x.regs[1])
	}
	for n, driven := range x.driven {
		if driven != (n%4 == 0) {
			t.Errorf("pin %d was high as an output: %v", n, driven)
		}
	}
}

// contact opens a pin as a contact of package drivers.
func contact(t *testing.T, h *Hardware, pin string) {
	o, _ := drivers.New("mcp23017")
	reflect.ValueOf(o).Elem().FieldByName("Pin").SetString(pin) // as package config does
	s, err := o.Open(t.Context(), h.Hardware)
	if err != nil {
		t.Error(err)
		return
	}
	s.Close()
}

// Nothing is written to another part or to a stuck bus.
func TestOutputDoesNotWriteToOtherParts(t *testing.T) {
	for _, b := range []byte{0xff, 0x80, 0x21} {
		written := false
		bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
			written = written || len(w) > 1
			for i := range r {
				r[i] = b
			}
			return nil
		}}
		_, err := openLine(t, wired(bus), &mcp23017Options{Bus: 1, Address: 0x20, Pin: "A3"}, false)
		if err == nil || written {
			t.Errorf("0x%02x: %v, written: %v", b, err, written)
		}
	}
}

// TestPCF8574KeepsItsOtherPins has a part whose pins P0 and P1 another start of the agent
// left low (on), and P4 is pulled low from outside: opening P0 touches neither. Its bytes are
// those of the datasheet's figure 7-3: one for all pins.
func TestPCF8574KeepsItsOtherPins(t *testing.T) {
	write := func(b byte) i2ctest.IO { return i2ctest.IO{Addr: 0x38, W: []byte{b}} }
	read := func(b byte) i2ctest.IO { return i2ctest.IO{Addr: 0x38, R: []byte{b}} }
	bus := &i2ctest.Playback{DontPanic: true, Ops: []i2ctest.IO{
		read(0b1110_1100), write(0b1110_1101), // P0 is safe
		read(0b1110_1101), write(0b1110_1111), // P1 is safe
		read(0b1110_1111), write(0b1110_1110), // P0 is on
		// P1 is pulled low from outside; it stays written high.
		read(0b1110_1100), write(0b1110_1111),
		read(0b1110_1101), // P1 reads on
	}}
	h := wired(bus)
	p0 := must(t, h, &pcf8574Options{Bus: 1, Address: 0x38, Pin: "P0", Low: true}, false)
	p1 := must(t, h, &pcf8574Options{Bus: 1, Address: 0x38, Pin: "P1", Low: true}, false)
	for _, on := range []bool{true, false} {
		if err := p0.Set(t.Context(), on); err != nil {
			t.Error(err)
		}
	}
	if on, err := p1.Get(t.Context()); !on || err != nil {
		t.Errorf("a pin that is pulled low reads back %v, %v", on, err)
	}
	if err := errors.Join(p0.Close(), p1.Close(), bus.Close()); err != nil {
		t.Error(err)
	}
}

// TestPCF8574ContactStaysAnInputBesideAnOutput has a contact at P3 that is closed while an
// output on P0 is switched. A pin that is written low is driven low for ever, and so P3 is
// written high each time, also while it reads low.
func TestPCF8574ContactStaysAnInputBesideAnOutput(t *testing.T) {
	write := func(b byte) i2ctest.IO { return i2ctest.IO{Addr: 0x20, W: []byte{b}} }
	read := func(b byte) i2ctest.IO { return i2ctest.IO{Addr: 0x20, R: []byte{b}} }
	bus := &i2ctest.Playback{DontPanic: true, Ops: []i2ctest.IO{
		read(0b1111_0111), write(0b1111_0110), // P0 is safe; P3 is not open yet, and closed
		read(0b1111_0110), write(0b1111_1110), // P3 is an input
		read(0b1111_0110), write(0b1111_1111), // P0 is on, with the contact closed
		read(0b1111_0111), write(0b1111_1110), // P0 is off
	}}
	h := wired(bus)
	p0 := must(t, h, &pcf8574Options{Bus: 1, Address: 0x20, Pin: "P0"}, false)
	o, _ := drivers.New("pcf8574")
	reflect.ValueOf(o).Elem().FieldByName("Pin").SetString("P3") // as package config does
	p3, err := o.Open(t.Context(), h.Hardware)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{true, false} {
		if err := p0.Set(t.Context(), on); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(p0.Close(), p3.Close(), bus.Close()); err != nil {
		t.Error(err)
	}
}

// Zeros are a valid value of a PCF8574, but also what a bus reads that is held low.
func TestPCF8574FailsOnABusThatIsHeldLow(t *testing.T) {
	o := &pcf8574Options{Bus: 1, Address: 0x20, Pin: "P0"}
	_, err := openLine(t, wired(i2cfake.Reading(0)), o, false)
	if err == nil || !strings.Contains(err.Error(), "holding the bus low") {
		t.Error(err)
	}
}

// TestEachTransferMayFail makes each transfer fail in turn: the call returns its error, and the line
// works again at the next call.
func TestEachTransferMayFail(t *testing.T) {
	for name, c := range map[string]struct {
		o   Options
		bus func() *i2cfake.Bus
	}{
		"mcp23017": {&mcp23017Options{Bus: 1, Address: 0x20, Pin: "B7"}, func() *i2cfake.Bus { return newMCPChip().Bus }},
		"pcf8574":  {&pcf8574Options{Bus: 1, Address: 0x20, Pin: "P7"}, func() *i2cfake.Bus { return newPCFChip() }},
	} {
		for n := range 100 {
			if n == 99 {
				t.Fatalf("%s: more transfers than that?", name)
			}
			bus := i2cfake.FailAt(c.bus(), n, syscall.EREMOTEIO)
			h := wired(bus)
			l, err := openLine(t, h, c.o, false)
			if err != nil {
				l = must(t, h, c.o, false)
			}
			for _, do := range []func() error{
				func() error { return l.Set(t.Context(), true) }, func() error { return isOn(t, l) },
			} {
				if failed := do(); failed != nil {
					err = failed
					if err := do(); err != nil {
						t.Errorf("%s: transfer %d, again: %v", name, n, err)
					}
				}
			}
			if err == nil && bus.Count <= n {
				break // it makes no more
			}
			if err == nil || !strings.Contains(err.Error(), "0x20: no acknowledge") {
				t.Errorf("%s: transfer %d fails: %v", name, n, err)
			}
		}
	}
}

func isOn(t *testing.T, l outputs.Line) error {
	on, err := l.Get(t.Context())
	if err == nil && !on {
		t.Error("off")
	}
	return err
}

// newPCFChip is a PCF8574 without anything on its pins.
func newPCFChip() *i2cfake.Bus {
	pins := byte(0xff)
	return &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
		if len(w) == 1 {
			pins = w[0]
		}
		for i := range r {
			r[i] = pins
		}
		return nil
	}}
}

// FuzzMCP23017 has registers of any content. The level is that of the pin, or an error.
func FuzzMCP23017(f *testing.F) {
	f.Add(mcpRegisters(nil), uint8(3), false)
	f.Add(mcpRegisters(map[byte]byte{0x01: 0x00, 0x13: 0x80}), uint8(15), true)
	f.Fuzz(func(t *testing.T, regs []byte, pin uint8, low bool) {
		if len(regs) != 0x16 {
			return
		}
		port, bit := pin/8%2, byte(1)<<(pin%8)
		l := &mcp23017Line{port: port, bit: bit, low: low}
		on, err := l.decode(regs)
		isOutput := regs[port]&bit == 0 && regs[2+port]&bit == 0
		if (err == nil) != isOutput {
			t.Errorf("an output: %v, error %v", isOutput, err)
		}
		if err == nil && on != (regs[0x12+port]&bit != 0 != low) {
			t.Errorf("%v of %x", on, regs)
		}
	})
}
