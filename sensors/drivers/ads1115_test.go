package drivers

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

func adsAt(input string) *ads1115Options {
	o := newADS1115().(*ads1115Options)
	o.Input = input
	return o
}

// adsOps are opening, which converts once, and one conversion that reads so. The
// settings of A0 at 4.096 V are OS 1, MUX 100, PGA 001, MODE 1, DR 100, COMP_QUE 11:
// 0xc383; while it converts, OS reads 0 (datasheet SBAS444, 8.1.3).
func adsOps(config uint16, raw uint16) (ops []i2ctest.IO) {
	hi, lo := byte(config>>8), byte(config)
	for range 2 {
		ops = append(ops,
			i2ctest.IO{Addr: 0x48, W: []byte{1, hi, lo}},
			i2ctest.IO{Addr: 0x48, W: []byte{1}, R: []byte{hi &^ 0x80, lo}},
			i2ctest.IO{Addr: 0x48, W: []byte{1}, R: []byte{hi, lo}},
			i2ctest.IO{Addr: 0x48, W: []byte{0}, R: []byte{byte(raw >> 8), byte(raw)}},
			i2ctest.IO{Addr: 0x48, W: []byte{1}, R: []byte{hi, lo}})
	}
	return ops
}

// Table 7-3 of the datasheet: a count is full scale / 2^15, 125 µV at 4.096 V.
func TestADS1115MeasuresAsItsDatasheetSays(t *testing.T) {
	for raw, want := range map[uint16]float64{
		0x4000: 2.048, 0x0001: 0.0001, 0x0000: 0, 0xffff: -0.0001, 0xf6a0: -0.3, 0x67c0: 3.32, 0x7fef: 4.0939,
	} {
		measures(t, adsAt("A0"), adsOps(0xc383, raw), "voltage", want)
	}
}

func TestADS1115HasEightInputsAndSixRanges(t *testing.T) {
	for input, mux := range map[string]uint16{
		"A0-A1": 0, "A0-A3": 1, "A1-A3": 2, "A2-A3": 3, "A0": 4, "A1": 5, "A2": 6, "A3": 7,
	} {
		measures(t, adsAt(input), adsOps(0x8383|mux<<12, 0x4000), "voltage", 2.048)
	}
	for text, want := range map[string]struct {
		pga   uint16
		value float64
	}{"6.144V": {0, 3.072}, "4.096V": {1, 2.048}, "2.048V": {2, 1.024}, "1.024V": {3, 0.512}, "512mV": {4, 0.256},
		"0.256V": {5, 0.128}} {
		o := adsAt("A0")
		if err := o.Range.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
		measures(t, o, adsOps(0xc183|want.pga<<9, 0x4000), "voltage", want.value)
	}
}

// A probe of 0.5 V when empty and 3 V when full: 100/2.5 % a volt, less 20 %.
func TestTransducerHasItsOwnUnit(t *testing.T) {
	o := adsAt("A1")
	o.Scale, o.Offset, o.Quantity, o.Unit = 40, -20, "level", "%"
	measures(t, o, adsOps(0xd383, 14000), "level", 50) // 1.75 V
	if q := o.Quantities(); len(q) != 1 || q[0].Unit != "%" || q[0].Class != "" {
		t.Errorf("%+v", q)
	}
	o.Scale, o.Offset = -40, 120
	measures(t, o, adsOps(0xd383, 14001), "level", 49.995) // 1.750125 V, in steps of 0.005 %
}

func TestADS1115OptionsSayWhatIsWrong(t *testing.T) {
	with := func(change func(*ads1115Options)) *ads1115Options {
		o := adsAt("A0")
		change(o)
		return o
	}
	good := loop{PullUp: 1000, EndOfLine: 1000, Contact: 1000}
	for want, o := range map[string]*ads1115Options{
		"input":     adsAt("A4"),
		"range":     with(func(o *ads1115Options) { o.Range = 5 }),
		"range ":    with(func(o *ads1115Options) { o.Range, o.Loop = 2.048, &good }),
		"scale":     with(func(o *ads1115Options) { o.Scale, o.Quantity = 0, "level" }),
		"quantity":  with(func(o *ads1115Options) { o.Scale = 2 }),
		"quantity ": with(func(o *ads1115Options) { o.Quantity = "the level" }),
		"loop":      with(func(o *ads1115Options) { o.Unit, o.Loop = "%", &good }),
		"address":   with(func(o *ads1115Options) { o.Address = 0x4c }),
	} {
		if p := o.Check(); len(p) != 1 || p[0].Key != want && p[0].Key+" " != want {
			t.Errorf("%s: %v", want, p)
		}
	}
}

func TestInputsOfOneConverterAreSeparateSensors(t *testing.T) {
	a, b := adsAt("A0").Claims(), adsAt("A1").Claims()
	if !slices.Equal(a, []string{"i2c-1 0x48 A0"}) || slices.Equal(a, b) {
		t.Error(a, b)
	}
}

func TestADS1115ImpossibleResultIsRejected(t *testing.T) {
	at := func(n int, r ...byte) []i2ctest.IO {
		ops := adsOps(0xc383, 0x4000)
		ops[n].R = r
		return ops
	}
	for want, ops := range map[string][]i2ctest.IO{
		"the input is beyond the range of 4.096V":            at(8, 0x7f, 0xff),
		"the input is beyond the range of 4.096V: raise":     at(8, 0x80, 0x00),
		"the input is beyond the range of 4.096V: raise ran": at(8, 0x7f, 0xf0), // an ADS1015's
		"settings read 0x8583, not 0xc383 (is it an ADS1115": at(9, 0x85, 0x83), // as power-up makes them
		"settings read 0xd383":                               at(9, 0xd3, 0x83), // another input
		"-4.096V against ground is not possible":             at(8, 0x80, 0x01),
		"-0.3001V against ground is not possible":            at(8, 0xf6, 0x9f),
	} {
		refuses(t, adsAt("A0"), ops, "i2c-1 0x48: "+want)
	}
	o := adsAt("A0")
	o.Range = 6.144
	refuses(t, o, adsOps(0xc183, 0x7ace), "i2c-1 0x48: 5.895V against ground is not possible")
	measures(t, adsAt("A0-A1"), adsOps(0x8383, 0x8001), "voltage", -4.0959)
}

func TestADS1115ConversionTimeoutIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := once(t, adsAt("A0"), answers(map[byte][]byte{1: {0x43, 0x83}}))
		if err == nil || err.Error() != "i2c-1 0x48: still converting after 17ms" ||
			time.Since(start) != 17*time.Millisecond {
			t.Error(err, time.Since(start))
		}
	})
}

func TestADS1115FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, adsAt("A0"), adsOps(0xc383, 0x4000), "i2c-1 0x48")
	survivesDeadBus(t, adsAt("A0"), adsOps(0xc383, 0x4000), time.Second)
}

// adsChip is the part as its datasheet describes it: settings written while it
// converts are kept, and the conversion goes on with the old ones.
type adsChip struct {
	config, result uint16
	until          time.Time
	volts          [8]uint16 // by MUX
}

func (c *adsChip) tx(_ int, _ uint16, w, r []byte) error {
	busy := time.Now().Before(c.until)
	if len(w) == 3 {
		c.config = uint16(w[1])<<8 | uint16(w[2])
		if !busy && c.config&0x8000 != 0 {
			c.until = time.Now().Add(7800 * time.Microsecond)
			c.result = c.volts[c.config>>12&7]
		}
		return nil
	}
	word := c.result
	if w[0] == 1 {
		word = c.config | 0x8000
		if busy {
			word &^= 0x8000
		}
	}
	copy(r, []byte{byte(word >> 8), byte(word)})
	return nil
}

// Four sensors at once, a thousand readings each: none has the value of another.
func TestInputsThatAreReadAtOnceKeepTheirOwnValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := &adsChip{volts: [8]uint16{4: 1000 * 8, 5: 1001 * 8, 6: 1002 * 8, 7: 1003 * 8}}
		h := wired(&i2cfake.Bus{Answer: chip.tx})
		for i, input := range []string{"A0", "A1", "A2", "A3"} {
			go func() {
				s, err := adsAt(input).Open(t.Context(), h)
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				for n := range 1000 {
					samples, err := s.Next(t.Context())
					if _, got := values(samples); err != nil || got[0] != 1+float64(i)/1000 {
						t.Errorf("%s: %v, %v", input, got, err)
						return
					}
					time.Sleep(time.Duration(n*(i+1)%13) * time.Millisecond)
				}
			}()
		}
		time.Sleep(time.Hour)
	})
}

func FuzzADS1115(f *testing.F) {
	f.Add([]byte{0xc3, 0x83}, []byte{0x40, 0x00})
	f.Add([]byte{0xff, 0xff}, []byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, config, result []byte) {
		synctest.Test(t, func(t *testing.T) {
			within(t, adsAt("A0"), answers(map[byte][]byte{0: result, 1: config}), limits{-4.096, 4.096})
		})
	})
}
