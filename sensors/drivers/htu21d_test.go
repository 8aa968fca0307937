package drivers

import (
	"slices"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// htuOps are opening, with the user register as it should be, and one
// measurement that reads so.
func htuOps(addr uint16, user byte, temp, rh uint16) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: addr, W: []byte{0xfe}}, // reset
		{Addr: addr, W: []byte{0xe7}, R: []byte{user}},
		{Addr: addr, W: []byte{0xf3}},
		{Addr: addr, R: i2c.EncodeWords(0x00, temp)},
		{Addr: addr, W: []byte{0xf5}},
		{Addr: addr, R: i2c.EncodeWords(0x00, rh)},
	}
}

// T = -46.85 + 175.72 * S/65536 °C, RH = -6 + 125 * S/65536 %, the two lowest
// bits set to 0 (HTU21D "Conversion of signal outputs"). Its examples: 0x683a
// (0x6838) is 24.69 °C; 0x4e85 (0x4e84) is 32.34 %. 0x35b0 is 13744: -10.00 °C;
// 0x09fc is 2556: -40.00 °C; 0xfa5c is 64092: 125.00 °C. With its two lowest bits
// 0x684e would be 24.75 °C, 0x7c8e 54.82 %.
func TestHTU21DMeasuresAsItsDatasheetSays(t *testing.T) {
	for _, o := range []Options{newHTU21D(), newSi7021()} {
		readsClimate(t, o, htuOps(0x40, 0x02, 0x683a, 0x4e85), 32.34, 24.69)
		readsClimate(t, o, htuOps(0x40, 0x3a, 0x35b0, 0x7c82), 54.79, -10)
		readsClimate(t, o, htuOps(0x40, 0x3a, 0x09fc, 0x7c82), 54.79, -40)
		readsClimate(t, o, htuOps(0x40, 0x3a, 0xfa5c, 0x7c82), 54.79, 125)
		readsClimate(t, o, htuOps(0x40, 0x3a, 0x684e, 0x7c8e), 54.81, 24.74)
	}
}

// 0x0002 is -6 %, 0x02be -4.66 %, 0xd91e 100.01 %, 0xfffe 118.99 %.
func TestHTU21DHumidityIsCutAsTheSi7021sDatasheetSays(t *testing.T) {
	for raw, want := range map[uint16]float64{0x0002: 0, 0x02be: 0, 0xd91e: 100, 0xfffe: 100} {
		readsClimate(t, newSi7021(), htuOps(0x40, 0x3a, 0x683c, raw), want, 24.7)
	}
}

func TestHTU21DBeyondItsRangeIsRefused(t *testing.T) {
	failsWith(t, newHTU21D(), htuOps(0x40, 0x02, 0x0004, 0x4e85), "i2c-1 0x40: temperature -46.84 °C is beyond")
	failsWith(t, newHTU21D(), htuOps(0x40, 0x02, 0xfffc, 0x4e85), "i2c-1 0x40: temperature 128.86 °C is beyond")
}

// 0xbf: 11 bits (0x81) and the heater (0x04) beside the reserved bits (0x3a).
func TestHTU21DSettings(t *testing.T) {
	ops := htuOps(0x40, 0xbf, 0x683a, 0x4e85)
	ops = slices.Insert(ops, 2, i2ctest.IO{Addr: 0x40, W: []byte{0xe6, 0x3a}})
	readsClimate(t, newHTU21D(), ops, 32.34, 24.69)
}
