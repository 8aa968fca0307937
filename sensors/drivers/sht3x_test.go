package drivers

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// sht3xOps are opening and one measurement that reads so.
func sht3xOps(temp, rh uint16) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x44, W: []byte{0x30, 0x93}}, // break
		{Addr: 0x44, W: []byte{0x30, 0xa2}}, // reset
		{Addr: 0x44, W: []byte{0xf3, 0x2d}},
		{Addr: 0x44, R: i2c.EncodeWords(0xff, 0x8010)}, // status after a reset (4.11)
		{Addr: 0x44, W: []byte{0x24, 0x00}},
		{Addr: 0x44, R: i2c.EncodeWords(0xff, temp, rh)},
	}
}

// T = -45 + 175 * S/65535 °C, RH = 100 * S/65535 % (4.13). 0x6666 is 0.4 of
// 65535: 25 °C; 0x3333 is 0.2: -10 °C; 0x0750 is 1872: -40.00 °C; 0xf8af is
// 63663: 125.00 °C; 0x8000 is 50.0008 %; 0x73b6 is 29622: 45.2003 %.
func TestSHT3xMeasuresAsItsDatasheetSays(t *testing.T) {
	readsClimate(t, newSHT3x(), sht3xOps(0x6666, 0x8000), 50, 25)
	readsClimate(t, newSHT3x(), sht3xOps(0x3333, 0x73b6), 45.2, -10)
	readsClimate(t, newSHT3x(), sht3xOps(0x0750, 0), 0, -40)
	readsClimate(t, newSHT3x(), sht3xOps(0xf8af, 0xffff), 100, 125)
}

func TestSHT3xBeyondItsRangeIsRefused(t *testing.T) {
	failsWith(t, newSHT3x(), sht3xOps(0x0000, 0x8000), "i2c-1 0x44: temperature -45 °C is beyond")
	failsWith(t, newSHT3x(), sht3xOps(0xffff, 0x8000), "i2c-1 0x44: temperature 130 °C is beyond")
}

func TestSHT3xMayRefuseToStopMeasuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := sht3xOps(0x6666, 0x8000)
		idle := playback(ops[1:])
		bus := &i2cfake.Bus{Answer: func(n int, addr uint16, w, r []byte) error {
			if n == 0 {
				return syscall.EREMOTEIO
			}
			return idle.Tx(addr, w, r)
		}}
		if _, err := once(t, newSHT3x(), bus); err != nil || bus.Count != len(ops) {
			t.Error(err, bus.Count)
		}
	})
}

func TestSHT3xThatHeatsItselfIsRefused(t *testing.T) {
	ops := sht3xOps(0x6666, 0x8000)
	ops[3].R = i2c.EncodeWords(0xff, 0xa010)
	failsWith(t, newSHT3x(), ops, "i2c-1 0x44: heats itself in spite of a reset (status 0xa010)")
}

// heatedSHT3x is a part that is heated at most every ten minutes, and its bus.
func heatedSHT3x(ops ...i2ctest.IO) (*sht3xOptions, *i2ctest.Playback) {
	o := newSHT3x().(*sht3xOptions)
	o.Heater = 10 * time.Minute
	return o, playback(append(sht3xOps(0, 0)[:4:4], ops...))
}

// wetReading is one measurement of 25 °C and 96 % (0xf5c2), and heating what follows it (4.10).
var (
	wetReading = []i2ctest.IO{
		{Addr: 0x44, W: []byte{0x24, 0x00}}, {Addr: 0x44, R: i2c.EncodeWords(0xff, 0x6666, 0xf5c2)},
	}
	heating = []i2ctest.IO{{Addr: 0x44, W: []byte{0x30, 0x6d}}, {Addr: 0x44, W: []byte{0x30, 0x66}}}
)

func TestSHT3xIsHeatedWhenItIsWet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dry := sht3xOps(0x6666, 0x8000)[4:]
		// dry; wet and heated; cooling; wet, but heated lately; wet and heated
		o, bus := heatedSHT3x(slices.Concat(dry, wetReading, heating, wetReading, wetReading, heating)...)
		if p := o.Check(); p != nil {
			t.Error(p)
		}
		s, err := o.Open(t.Context(), wired(bus))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			wait time.Duration
			want []float64 // each of when it was measured, also where it was heated after that
		}{
			{0, []float64{50, 25}}, {0, []float64{96, 25}}, {0, nil}, {59 * time.Second, nil},
			{time.Second, []float64{96, 25}}, {9 * time.Minute, []float64{96, 25}},
		} {
			time.Sleep(c.wait)
			began := time.Now()
			samples, err := s.Next(t.Context())
			for _, sample := range samples {
				if measured := time.Now().Add(-sample.Ago); measured.Sub(began) > time.Second {
					t.Errorf("reading %d: stamped %v after the measurement", i, measured.Sub(began))
				}
			}
			if _, got := values(samples); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("reading %d: %v, %v; want %v", i, got, err, c.want)
			}
		}
		if err := errors.Join(s.Close(), bus.Close()); err != nil {
			t.Error(err)
		}
	})
}

// The heater is switched off when the agent stops in the middle, and when it could not be
// switched on for certain.
func TestSHT3xHeaterIsAlwaysSwitchedOff(t *testing.T) {
	for _, fails := range []int{-1, 6} { // the transfer that switches it on
		synctest.Test(t, func(t *testing.T) {
			o, part := heatedSHT3x(slices.Concat(wetReading, heating)...)
			off := false
			bus := &i2cfake.Bus{Answer: func(n int, addr uint16, w, r []byte) error {
				off = off || len(w) == 2 && w[0] == 0x30 && w[1] == 0x66
				if n == fails {
					return syscall.EREMOTEIO
				}
				if fails >= 0 && n > fails {
					return nil
				}
				return part.Tx(addr, w, r)
			}}
			s, err := o.Open(t.Context(), wired(bus))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := s.Next(ctx); err == nil || !off {
				t.Errorf("%v, switched off: %v", err, off)
			}
		})
	}
}

func TestSHT3xHeaterOptionIsBounded(t *testing.T) {
	o, _ := heatedSHT3x()
	o.Heater = 9 * time.Minute
	if p := o.Check(); len(p) != 1 || p[0].Key != "heater" {
		t.Error(p)
	}
}
