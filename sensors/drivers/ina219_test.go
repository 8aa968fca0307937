package drivers

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// ina219Ops are opening and one measurement with a shunt of 0.1 ohms: 320 mV are
// the range (PG 11), and the calibration is 0.04096*32768/0.32 = 4194, 0x1062.
func ina219Ops(bus, shunt, amps uint16) []i2ctest.IO {
	word := func(w uint16) []byte { return []byte{byte(w >> 8), byte(w)} }
	check := []i2ctest.IO{
		{Addr: 0x40, W: []byte{0}, R: []byte{0x3f, 0xff}},
		{Addr: 0x40, W: []byte{5}, R: []byte{0x10, 0x62}},
	}
	ops := append([]i2ctest.IO{
		{Addr: 0x40, W: []byte{0, 0x80, 0x00}}, // reset
		{Addr: 0x40, W: []byte{0, 0x3f, 0xff}},
		{Addr: 0x40, W: []byte{5, 0x10, 0x62}},
	}, check...)
	ops = append(ops,
		i2ctest.IO{Addr: 0x40, W: []byte{2}, R: word(bus)},
		i2ctest.IO{Addr: 0x40, W: []byte{1}, R: word(shunt)},
		i2ctest.IO{Addr: 0x40, W: []byte{4}, R: word(amps)},
		i2ctest.IO{Addr: 0x40, W: []byte{3}, R: word(0)})
	return append(ops, check...)
}

// inaVolt is a voltage in the bus register, with CNVR (8.6.3.2).
func inaVolt(v float64) uint16 { return uint16(math.Round(v/0.004))<<3 | 2 }

// The part computes current = shunt*calibration/4096 (8.5.1): 100 mV are 10000
// counts, 10000*4194/4096 = 10239, of 0.04096/(4194*0.1) = 97.6633 µA each: 0.99997 A.
func TestINA219MeasuresAsItsDatasheetSays(t *testing.T) {
	minus := func(n int16) uint16 { return uint16(-n) }
	const names = "voltage current power"
	measures(t, newINA219(), ina219Ops(inaVolt(12), 10000, 10239), names, 12, 0.99997, 12)
	measures(t, newINA219(), ina219Ops(inaVolt(12.004), minus(10000), minus(10239)), names, 12.004, -0.99997, -12.004)
	measures(t, newINA219(), ina219Ops(inaVolt(0), 0, 0), names, 0, 0, 0)
	measures(t, newINA219(), ina219Ops(inaVolt(32), 31999, 32764), names, 32, 3.19984, 102.395) // 32764 * 97.6633 µA
}

// The datasheet's example (8.5.2): 2 mOhm, 15 A at most, so 457.7 µA a step and a
// calibration of 44739, of which bit 0 is always 0; and the smallest range.
func TestINA219ScaleHasTheFinestStep(t *testing.T) {
	for _, c := range []struct {
		shunt       ohms
		most        float64
		config      uint16
		calibration uint16
		step        float64
	}{
		{0.1, 0, 0x3fff, 4194, 97.66e-6},
		{0.1, 3.2, 0x3fff, 4194, 97.66e-6},
		{0.1, 0.4, 0x27ff, 33554, 12.21e-6},
		{0.1, 0.5, 0x2fff, 26842, 15.26e-6},
		{0.1, 1.6, 0x37ff, 8388, 48.83e-6},
		{0.1, 0.01, 0x27ff, 65534, 6.25e-6}, // it goes no finer
		{0.002, 15, 0x27ff, 44738, 457.8e-6},
	} {
		o := newINA219().(*ina219Options)
		o.Shunt, o.MaxCurrent = c.shunt, c.most
		got := o.scale()
		if got.config != c.config || got.calibration != c.calibration || math.Abs(got.step/c.step-1) > 1e-3 ||
			o.Check() != nil {
			t.Errorf("%v, %v A: %+v; want %+v", c.shunt, c.most, got, c)
		}
	}
}

func TestINA219OptionsSayWhatIsWrong(t *testing.T) {
	for want, o := range map[string]ina219Options{"shunt": {Shunt: 0}, "max_current": {Shunt: 0.1, MaxCurrent: 3.3}} {
		o.onI2C = newINA219().(*ina219Options).onI2C
		if p := o.Check(); len(p) != 1 || p[0].Key != want {
			t.Errorf("%s: %v", want, p)
		}
	}
}

func TestINA219ImpossibleMeasurementIsRejected(t *testing.T) {
	dipped := ina219Ops(inaVolt(12), 10000, 0)
	dipped[9].R, dipped[10].R = []byte{0x39, 0x9f}, []byte{0, 0} // as power-up makes it
	for want, ops := range map[string][]i2ctest.IO{
		"settings read 0x399f 0x0000, not 0x3fff 0x1062 (is it": dipped,
		"voltage 32.76":              ina219Ops(0xfffa, 0, 0),
		"voltage 32.004 V is beyond": ina219Ops(8001<<3|2, 0, 0),
	} {
		refuses(t, newINA219(), ops, "i2c-1 0x40: "+want)
	}
}

// OVF concerns only the values computed from the shunt; the bus voltage is still valid.
func TestINA219KeepsTheVoltageWhenTheCurrentOverflows(t *testing.T) {
	for name, ops := range map[string][]i2ctest.IO{
		"OVF":                   ina219Ops(inaVolt(12)|1, 10000, 10239),
		"the end of the range":  ina219Ops(inaVolt(12), 32000, 32767),
		"and the other end":     ina219Ops(inaVolt(12), 0x8300, 0x8001), // -32000
		"both, as it should be": ina219Ops(inaVolt(12)|1, 32000, 32767),
	} {
		synctest.Test(t, func(t *testing.T) {
			samples, err := once(t, newINA219(), &i2ctest.Playback{Ops: ops, DontPanic: true})
			if err != nil || len(samples) != 3 || samples[0].Err != nil || samples[0].Value != 12 {
				t.Fatalf("%s: %v, %v", name, samples, err)
			}
			for _, s := range samples[1:] {
				if s.Err == nil || !strings.HasPrefix(s.Err.Error(),
					"i2c-1 0x40: more current than can be measured (3.2 A)") || s.Value != 0 {
					t.Errorf("%s: %+v", name, s)
				}
			}
		})
	}
}

// CNVR is cleared by reading the power: a part that repeats what it has measured
// before leaves it cleared.
func TestINA219ReadsEachMeasurementOnce(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration // between the part's measurements; 0: there is only one
		want  string
	}{
		"measures":    {68 * time.Millisecond, ""},
		"has stopped": {0, "i2c-1 0x40: makes no measurement (has its power dipped?)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			read, start := 0, time.Now()
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
				made := 1
				if c.every > 0 {
					made = int(time.Since(start) / c.every)
				}
				v := inaVolt(12) &^ 2
				if made > read {
					v |= 2
				}
				switch w[0] {
				case 0:
					copy(r, []byte{0x3f, 0xff})
				case 5:
					copy(r, []byte{0x10, 0x62})
				case 2:
					copy(r, []byte{byte(v >> 8), byte(v)})
				case 3:
					read = made
				}
				return nil
			}}
			s, err := newINA219().Open(t.Context(), wired(bus))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Next(t.Context()); err != nil {
				t.Fatal(name, err)
			}
			if _, err := s.Next(t.Context()); c.want == "" && err != nil || c.want != "" &&
				(err == nil || err.Error() != c.want) {
				t.Error(name, err)
			}
		})
	}
}

func TestINA219FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newINA219(), ina219Ops(inaVolt(12), 10000, 10239), "i2c-1 0x40")
	survivesDeadBus(t, newINA219(), ina219Ops(inaVolt(12), 10000, 10239), time.Second)
}

func FuzzINA219(f *testing.F) {
	f.Add([]byte{0x3f, 0xff}, []byte{0x10, 0x62}, inaVolt(12), uint16(10000), uint16(10239))
	f.Add([]byte{0xff, 0xff}, []byte{0xff, 0xff}, uint16(0xffff), uint16(0xffff), uint16(0xffff))
	f.Fuzz(func(t *testing.T, config, calibration []byte, bus, shunt, amps uint16) {
		synctest.Test(t, func(t *testing.T) {
			word := func(w uint16) []byte { return []byte{byte(w >> 8), byte(w)} }
			fake := answers(map[byte][]byte{0: config, 5: calibration, 1: word(shunt), 2: word(bus), 4: word(amps)})
			within(t, newINA219(), fake, limits{0, 32}, limits{-3.201, 3.201}, limits{-102.5, 102.5})
		})
	})
}
