package drivers

import (
	"slices"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// hdc302xOps are opening, with a first measurement of zeros, and one measurement
// that reads so.
func hdc302xOps(temp, rh uint16) []i2ctest.IO {
	return slices.Concat(sht3xOps(0, 0)[:4], []i2ctest.IO{
		{Addr: 0x44, W: []byte{0x37, 0x81}}, // manufacturer id
		{Addr: 0x44, R: i2c.EncodeWords(0xff, 0x3000)},
	}, sht3xOps(0, 0)[4:], sht3xOps(temp, rh)[4:])
}

// T = -45 + 175 * S/65535 °C, RH = 100 * S/65535 % (7.3.3): see the SHT3x.
func TestHDC302xMeasuresAsItsDatasheetSays(t *testing.T) {
	readsClimate(t, newHDC302x(), hdc302xOps(0x6666, 0x8000), 50, 25)
	readsClimate(t, newHDC302x(), hdc302xOps(0x3333, 0x73b6), 45.2, -10)
	readsClimate(t, newHDC302x(), hdc302xOps(0x0750, 0), 0, -40)
	readsClimate(t, newHDC302x(), hdc302xOps(0xf8af, 0xffff), 100, 125)
}

func TestHDC302xBeyondItsRangeIsRefused(t *testing.T) {
	failsWith(t, newHDC302x(), hdc302xOps(0, 0), "i2c-1 0x44: temperature -45 °C is beyond")
}

func TestOtherPartAtTheAddressOfAnHDC302xIsReported(t *testing.T) {
	ops := hdc302xOps(0x6666, 0x8000)
	ops[5].R = i2c.EncodeWords(0xff, 0x1234)
	failsWith(t, newHDC302x(), ops, "i2c-1 0x44: this is not an HDC302x: manufacturer id 0x1234, not 0x3000")
}

func TestHDC302xHasFourAddresses(t *testing.T) {
	for addr := uint16(0x40); addr < 0x4a; addr++ {
		o := newHDC302x().(*hygrometerOptions)
		o.Address = addr
		if good := addr >= 0x44 && addr <= 0x47; (o.Check() == nil) != good {
			t.Errorf("0x%02x: %v", addr, o.Check())
		}
	}
}
