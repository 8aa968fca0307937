package drivers

import (
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// sht4xOps are opening and one measurement that reads so.
func sht4xOps(temp, rh uint16) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x44, W: []byte{0x94}}, // reset
		{Addr: 0x44, W: []byte{0x89}}, // serial number
		{Addr: 0x44, R: i2c.EncodeWords(0xff, 0x0f12, 0x3456)},
		{Addr: 0x44, W: []byte{0xfd}},
		{Addr: 0x44, R: i2c.EncodeWords(0xff, temp, rh)},
	}
}

// T = -45 + 175 * S/65535 °C, RH = -6 + 125 * S/65535 % (4.6). 0x6666 is 0.4 of
// 65535: 25 °C; 0x3333 is 0.2: -10 °C; 0x8000 is 56.50095 %; 0x68db is 26843:
// 45.2002 %.
func TestSHT4xMeasuresAsItsDatasheetSays(t *testing.T) {
	readsClimate(t, newSHT4x(), sht4xOps(0x6666, 0x8000), 56.5, 25)
	readsClimate(t, newSHT4x(), sht4xOps(0x3333, 0x68db), 45.2, -10)
	readsClimate(t, newSHT4x(), sht4xOps(0x0750, 0x7000), 48.69, -40)
	readsClimate(t, newSHT4x(), sht4xOps(0xf8af, 0x7000), 48.69, 125)
}

// 0x0000 is -6 %, 0xffff 119 %.
func TestSHT4xHumidityIsCroppedAsItsDatasheetSays(t *testing.T) {
	readsClimate(t, newSHT4x(), sht4xOps(0x6666, 0x0000), 0, 25)
	readsClimate(t, newSHT4x(), sht4xOps(0x6666, 0xffff), 100, 25)
}

func TestSHT4xBeyondItsRangeIsRefused(t *testing.T) {
	failsWith(t, newSHT4x(), sht4xOps(0x0000, 0x8000), "i2c-1 0x44: temperature -45 °C is beyond")
	failsWith(t, newSHT4x(), sht4xOps(0xffff, 0x8000), "i2c-1 0x44: temperature 130 °C is beyond")
}

func TestSHT4xHasThreeAddresses(t *testing.T) {
	for addr := uint16(0x42); addr < 0x49; addr++ {
		o := newSHT4x().(*hygrometerOptions)
		o.Address = addr
		if good := addr >= 0x44 && addr <= 0x46; (o.Check() == nil) != good {
			t.Errorf("0x%02x: %v", addr, o.Check())
		}
	}
}
