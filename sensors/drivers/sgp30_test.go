package drivers

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// sgp30Fixed is what the part sends in its first 15 s: 400 ppm and 0 ppb (6.3).
var sgp30Fixed = []byte{0x01, 0x90, 0x4c, 0x00, 0x00, 0x81}

// sgp30Opening are opening a part with a feature set.
func sgp30Opening(features uint16) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x58, W: []byte{0x36, 0x82}},
		{Addr: 0x58, R: i2c.EncodeWords(0xff, 0x0000, 0x00ae, 0xc1b2)},
		{Addr: 0x58, W: []byte{0x20, 0x2f}},
		{Addr: 0x58, R: i2c.EncodeWords(0xff, features)},
		{Addr: 0x58, W: []byte{0x20, 0x03}},
	}
}

// sgp30Ops are opening and measurements.
func sgp30Ops(replies ...[]byte) []i2ctest.IO {
	ops := sgp30Opening(0x0022)
	for _, r := range replies {
		ops = append(ops, i2ctest.IO{Addr: 0x58, W: []byte{0x20, 0x08}}, i2ctest.IO{Addr: 0x58, R: r})
	}
	return ops
}

func TestSGP30HasNoValueBeforeItIsWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replies := slices.Repeat([][]byte{sgp30Fixed}, 15)
		replies = append(replies, i2c.EncodeWords(0xff, 612, 48), i2c.EncodeWords(0xff, 57330, 60000))
		bus := &i2ctest.Playback{Ops: sgp30Ops(replies...), DontPanic: true}
		s, err := newSGP30().Open(t.Context(), wired(bus))
		if err != nil {
			t.Fatal(err)
		}
		for second := range 17 {
			samples, err := s.Next(t.Context())
			names, got := values(samples)
			want := map[int][]float64{15: {612, 48}, 16: {57330, 60000}}[second]
			if err != nil || !slices.Equal(got, want) || want != nil && names != "equivalent_co2 tvoc" {
				t.Errorf("after %d s: %s %v, %v; want %v", second, names, got, err, want)
			}
			time.Sleep(time.Second)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSGP30RefusesOtherPartsAndWrongChecksums(t *testing.T) {
	refuses(t, newSGP30(), sgp30Opening(0x1006), "i2c-1 0x58: this is not an SGP30: its feature set is 0x1006")
	refuses(t, newSGP30(), sgp30Ops([]byte{0x01, 0x90, 0x4d, 0x00, 0x00, 0x81}), "i2c-1 0x58: wrong checksum 0x4d")
}

func TestSGP30FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newSGP30(), sgp30Ops(sgp30Fixed), "i2c-1 0x58")
	survivesDeadBus(t, newSGP30(), sgp30Ops(sgp30Fixed), time.Second)
}

func FuzzSGP30(f *testing.F) {
	f.Add(sgp30Fixed)
	f.Fuzz(func(t *testing.T, answer []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, _, r []byte) error {
				switch len(r) {
				case 9:
					copy(r, i2c.EncodeWords(0xff, 1, 2, 3))
				case 3:
					copy(r, i2c.EncodeWords(0xff, 0x0022))
				default:
					copy(r, answer)
				}
				return nil
			}}
			s, err := newSGP30().Open(t.Context(), wired(bus))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(sgp30WarmUp)
			samples, err := s.Next(t.Context())
			if _, got := values(samples); err == nil && (got[0] < 400 || got[0] > 60000 || got[1] > 60000) {
				t.Error(got)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}
