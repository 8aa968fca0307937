package drivers

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

func pinP3() *pcf8574Options {
	o := newPCF8574().(*pcf8574Options)
	o.Pin = "P3"
	return o
}

// pcfOps are opening pin P3 (bit 0x08) where other pins are at these levels, and looks.
func pcfOps(others byte, levels ...byte) []i2ctest.IO {
	ops := []i2ctest.IO{
		{Addr: 0x20, R: []byte{others}},
		{Addr: 0x20, W: []byte{others | 0x08}},
	}
	for _, l := range levels {
		ops = append(ops, i2ctest.IO{Addr: 0x20, R: []byte{l}})
	}
	return ops
}

// A high pin is an open contact (9.3.1): 1, as without a class and `normally`.
func TestPCF8574SetsItsPinHighAndReadsItsLevel(t *testing.T) {
	for level, want := range map[byte]float64{0x08: 1, 0xff: 1, 0xf7: 0} {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2ctest.Playback{Ops: pcfOps(0x50, level, level), DontPanic: true} // seen, and held for 50 ms
			samples, err := once(t, pinP3(), bus)
			if _, got := values(samples); err != nil || !slices.Equal(got, []float64{want}) {
				t.Errorf("0x%02x: %v, %v; want %v", level, got, err, want)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// All pins low is a value, which a bus that is held low has too: then every address answers.
func TestPCF8574DistinguishesLowPinsFromALowBus(t *testing.T) {
	low := func(elsewhere error) *i2cfake.Bus {
		return &i2cfake.Bus{Answer: func(_ int, addr uint16, _, _ []byte) error {
			if addr != 0x20 {
				return elsewhere
			}
			return nil
		}}
	}
	synctest.Test(t, func(t *testing.T) {
		samples, err := once(t, pinP3(), low(syscall.EREMOTEIO))
		if _, got := values(samples); err != nil || !slices.Equal(got, []float64{0}) {
			t.Error(got, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, err := once(t, pinP3(), low(nil))
		if err == nil || !strings.Contains(err.Error(), "reads only 0x00, and so does every address") {
			t.Error(err)
		}
	})
}

func TestPCF8574FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, pinP3(), pcfOps(0xff), "i2c-1 0x20")
	synctest.Test(t, func(t *testing.T) {
		bus := i2cfake.FailAt(&i2ctest.Playback{Ops: pcfOps(0xff, 0xf7), DontPanic: true}, 2, syscall.EREMOTEIO)
		if _, err := once(t, pinP3(), bus); !errors.Is(err, syscall.EREMOTEIO) || bus.Closed != 1 {
			t.Error(err, bus.Closed)
		}
	})
}

func TestPCF8574OptionsSayWhatIsWrong(t *testing.T) {
	for want, change := range map[string]func(*pcf8574Options){
		`"P8" is not a pin of it`:             func(o *pcf8574Options) { o.Pin = "P8" },
		`"" is not a pin of it`:               func(o *pcf8574Options) { o.Pin = "" },
		"0x28 is not an address of a PCF8574": func(o *pcf8574Options) { o.Address = 0x28 },
		"1ms is not between 10ms and 10s":     func(o *pcf8574Options) { o.Poll = time.Millisecond },
	} {
		o := pinP3()
		change(o)
		if p := o.Check(); len(p) != 1 || !strings.Contains(p[0].Text, want) {
			t.Errorf("%v, want %q", p, want)
		}
	}
	o := pinP3()
	o.Address = 0x3f // of a PCF8574A
	if p := o.Check(); p != nil || !slices.Equal(o.Claims(), []string{"i2c-1 0x3f P3"}) {
		t.Error(p, o.Claims())
	}
}
