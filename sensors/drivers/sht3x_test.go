package drivers

import (
	"syscall"
	"testing"
	"testing/synctest"

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

func TestSHT3xThatHasNothingToEndMaySayNo(t *testing.T) {
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
