package drivers

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// sgp40Ops are opening and one measurement.
func sgp40Ops(test uint16, raw ...byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x59, W: []byte{0x36, 0x82}},
		{Addr: 0x59, R: i2c.EncodeWords(0xff, 0x0000, 0x04e1, 0xae65)},
		{Addr: 0x59, W: []byte{0x28, 0x0e}},
		{Addr: 0x59, R: i2c.EncodeWords(0xff, test)},
		// table 9, subcommand 1: the bytes are the datasheet's, with their checksums
		{Addr: 0x59, W: []byte{0x26, 0x0f, 0x80, 0x00, 0xa2, 0x66, 0x66, 0x93}},
		{Addr: 0x59, R: raw},
	}
}

func TestSGP40MeasuresItsRawSignal(t *testing.T) {
	measures(t, newSGP40(), sgp40Ops(0xd400, i2c.EncodeWords(0xff, 30000)...), "voc_raw", 30000)
	measures(t, newSGP40(), sgp40Ops(0xd4a5, i2c.EncodeWords(0xff, 1)...), "voc_raw", 1) // the lower byte of the test
	if got := i2c.EncodeWords(0xff, 0x8000, 0x6666); string(got) != string(sgp40Measure[2:]) {
		t.Errorf("% x, and the datasheet has % x", got, sgp40Measure[2:])
	}
}

func TestSGP40ThatFailsItsTestIsRefused(t *testing.T) {
	refuses(t, newSGP40(), sgp40Ops(0x4b00), "i2c-1 0x59: its self-test fails (0x4b00)")
	refuses(t, newSGP40(), sgp40Ops(0xd400, 0x75, 0x30, 0x00), "i2c-1 0x59: wrong checksum 0x00")
	refuses(t, newSGP40(), sgp40Ops(0xd400, i2c.EncodeWords(0xff, 0xffff)...), "i2c-1 0x59: voc_raw 65535")
}

func TestSGP40FailsAtEachTransfer(t *testing.T) {
	ops := sgp40Ops(0xd400, i2c.EncodeWords(0xff, 30000)...)
	failsAnywhere(t, newSGP40(), ops, "i2c-1 0x59")
	survivesDeadBus(t, newSGP40(), ops, time.Second)
}

func FuzzSGP40(f *testing.F) {
	f.Add(i2c.EncodeWords(0xff, 0xd400))
	f.Fuzz(func(t *testing.T, answer []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, _, r []byte) error {
				if len(r) == 9 {
					copy(r, i2c.EncodeWords(0xff, 1, 2, 3))
				} else {
					copy(r, answer)
				}
				return nil
			}}
			within(t, newSGP40(), bus, limits{1, 65534})
		})
	})
}
