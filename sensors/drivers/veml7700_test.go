package drivers

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// vemlOps are opening and counts, the first in the middle range and each with its
// configuration.
func vemlOps(counts ...[2]uint16) []i2ctest.IO {
	low := func(x uint16) []byte { return []byte{byte(x), byte(x >> 8)} }
	ops := []i2ctest.IO{
		{Addr: 0x10, W: []byte{0x00, 0x01, 0x00}}, // shut down
		{Addr: 0x10, W: []byte{0x03, 0x00, 0x00}}, // no power saving
	}
	for _, c := range counts {
		ops = append(ops, i2ctest.IO{Addr: 0x10, W: append([]byte{0x00}, low(c[0])...)},
			i2ctest.IO{Addr: 0x10, W: []byte{0x04}, R: low(c[1])},
			i2ctest.IO{Addr: 0x10, W: []byte{0x00}, R: low(c[0])},
			i2ctest.IO{Addr: 0x10, W: []byte{0x00, 0x01, 0x00}})
	}
	return ops
}

// The configurations by the datasheet's table 1: gain 1/8 is 10b at bit 11, gain 2 is 01b;
// 100 ms is 0000b at bit 6, 25 ms 1100b, 400 ms 0010b.
const vemlMiddleConfig, vemlBrightConfig, vemlDimConfig = 0x1000, 0x1300, 0x0880

// A count is 0.5376 lx at the gain 1/8 in 100 ms, 2.1504 lx in 25 ms, and 0.0084 lx at the
// gain 2 in 400 ms (84286, basic characteristics). By hand, with the formula of 84323:
// 1000 counts are 537.6 lx, and corrected 538.84 + 23.55 - 1.46 + 0.05 = 560.98 lx;
// 10,000 counts of 2.1504 are 21,504 lx, corrected 21,553 + 37,683 - 93,396 + 128,588 = 94,427.
func TestVEML7700ChoosesItsRange(t *testing.T) {
	for _, c := range []struct {
		counts [][2]uint16
		want   float64
	}{
		{[][2]uint16{{vemlMiddleConfig, 1000}}, 561},
		{[][2]uint16{{vemlMiddleConfig, 100}}, 54.1},
		{[][2]uint16{{vemlMiddleConfig, 99}, {vemlDimConfig, 6000}}, 50.4},
		{[][2]uint16{{vemlMiddleConfig, 0}, {vemlDimConfig, 1}}, 0.008},
		{[][2]uint16{{vemlMiddleConfig, 0}, {vemlDimConfig, 0}}, 0},
		{[][2]uint16{{vemlMiddleConfig, 40000}, {vemlBrightConfig, 10000}}, 94427},
		{[][2]uint16{{vemlMiddleConfig, 0xffff}, {vemlBrightConfig, 4000}}, 11965},
	} {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2ctest.Playback{Ops: vemlOps(c.counts...), DontPanic: true}
			samples, err := once(t, newVEML7700(), bus)
			if _, got := values(samples); err != nil || !slices.Equal(got, []float64{c.want}) {
				t.Errorf("%v: %v, %v; want %v", c.counts, got, err, c.want)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVEML7700RejectsImpossibleCounts(t *testing.T) {
	refuses(t, newVEML7700(), vemlOps([2]uint16{vemlMiddleConfig, 0xffff}, [2]uint16{vemlBrightConfig, 12000}),
		"i2c-1 0x10: it is brighter than the 140000 lx")
	refuses(t, newVEML7700(), vemlOps([2]uint16{vemlMiddleConfig, 3}, [2]uint16{vemlDimConfig, 0xffff}),
		"i2c-1 0x10: the light changed while it was measured (more than 550 lx)")
	ops := vemlOps([2]uint16{vemlMiddleConfig, 1000})
	ops[4].R = []byte{0x01, 0x00} // as after power on
	refuses(t, newVEML7700(), ops, "i2c-1 0x10: settings read 0x0001, not 0x1000")
}

func TestVEML7700FailsAtEachTransfer(t *testing.T) {
	for _, ops := range [][]i2ctest.IO{
		vemlOps([2]uint16{vemlMiddleConfig, 1000}),
		vemlOps([2]uint16{vemlMiddleConfig, 0}, [2]uint16{vemlDimConfig, 0}),
	} {
		failsAnywhere(t, newVEML7700(), ops, "i2c-1 0x10")
		// The last transfer switches the part off: there is nothing to check after it.
		survivesDeadBus(t, newVEML7700(), ops[:len(ops)-1], 2*time.Second)
	}
}

func FuzzVEML7700(f *testing.F) {
	f.Add(uint16(1000), uint16(0))
	f.Add(uint16(0xffff), uint16(11000))
	f.Fuzz(func(t *testing.T, first, second uint16) {
		synctest.Test(t, func(t *testing.T) {
			var config [2]byte
			counts := []uint16{first, second}
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
				switch {
				case len(w) == 3 && w[0] == vemlConfig:
					copy(config[:], w[1:])
				case len(r) > 0 && w[0] == vemlConfig:
					copy(r, config[:])
				case len(r) > 0:
					r[0], r[1] = byte(counts[0]), byte(counts[0]>>8)
					counts = counts[1:]
				}
				return nil
			}}
			within(t, newVEML7700(), bus, limits{0, maxVEMLLux})
		})
	})
}
