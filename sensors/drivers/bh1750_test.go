package drivers

import (
	"errors"
	"math"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// The sensitivity of 69 is 010 00101: 0x40 and 010, 0x60 and 00101.
func bh1750Ops(r ...byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x23, W: []byte{0x01}}, {Addr: 0x23, W: []byte{0x07}},
		{Addr: 0x23, W: []byte{0x42}}, {Addr: 0x23, W: []byte{0x65}},
		{Addr: 0x23, W: []byte{0x20}}, {Addr: 0x23, R: r},
	}
}

// The example of the datasheet (measurement sequence, ex1): 1000 0011 1001 0000 is
// (2^15+2^9+2^8+2^7+2^4)/1.2 = 28067 lx.
func TestBH1750MeasuresAsItsDatasheetSays(t *testing.T) {
	for r, want := range map[[2]byte]float64{
		{0x83, 0x90}: 28066.7, {0x01, 0x10}: 226.7, {0x00, 0x01}: 0.8, {0x00, 0x06}: 5, {0xff, 0xfe}: 54611.7,
	} {
		measures(t, newBH1750(), bh1750Ops(r[:]...), "illuminance", want)
	}
}

// night is a bus with only a BH1750 in the dark.
func night(elsewhere error) *i2cfake.Bus {
	return &i2cfake.Bus{Answer: func(_ int, addr uint16, _, _ []byte) error {
		if addr != 0x23 {
			return elsewhere
		}
		return nil
	}}
}

func TestBH1750DistinguishesDarknessFromALowBus(t *testing.T) {
	for _, nak := range []error{syscall.EREMOTEIO, syscall.ENXIO, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			samples, err := once(t, newBH1750(), night(nak))
			if _, got := values(samples); err != nil || !slices.Equal(got, []float64{0}) {
				t.Errorf("%v: %v, %v", nak, got, err)
			}
		})
	}
	refuses(t, newBH1750(), append(bh1750Ops(0, 0), i2ctest.IO{Addr: 0x05, R: []byte{0}}),
		"i2c-1 0x23: reads only 0x00, and so does every address")
	synctest.Test(t, func(t *testing.T) {
		if _, err := once(t, newBH1750(), night(syscall.ENODEV)); !errors.Is(err, syscall.ENODEV) {
			t.Error(err)
		}
	})
}

func TestBH1750FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newBH1750(), bh1750Ops(0x83, 0x90), "i2c-1 0x23")
	for alive := range len(bh1750Ops()) {
		for _, b := range []byte{0x00, 0xff} { // all others are a measurement
			deadAfter(t, newBH1750(), bh1750Ops(0x83, 0x90), alive, b, time.Second)
		}
	}
}

func FuzzBH1750(f *testing.F) {
	f.Add([]byte{0x83, 0x90})
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, r []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2cfake.Bus{Answer: func(_ int, addr uint16, w, into []byte) error {
				if addr != 0x23 {
					return syscall.EREMOTEIO
				}
				copy(into, r)
				return nil
			}}
			within(t, newBH1750(), bus, limits{0, 54612})
		})
	})
}

func TestValuesAreRoundedToThePartsResolution(t *testing.T) {
	for _, c := range []struct{ x, resolution, want float64 }{
		{28066.66667, 1 / 1.2, 28066.7}, {1.23456789, 0.001, 1.235}, {1.23456789, 0.004, 1.235},
		{1.23456789, 0.000125, 1.2346},
		{-1.26, 0.5, -1.3}, {123.4, 1, 123}, {123.4, 50, 123}, {1.23e-14, 1e-15, 1.2e-14},
		{1e9 + 0.125, 1e-15, 1e9 + 0.125}, {1e-30, 1e-31, 1e-30},
		{-1e-9, 0.001, 0},
	} {
		if got := host.RoundToStep(c.x, c.resolution); got != c.want || math.Signbit(got) != (c.want < 0) {
			t.Errorf("%v in steps of %v: %v, want %v", c.x, c.resolution, got, c.want)
		}
	}
}
