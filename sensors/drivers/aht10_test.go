package drivers

import (
	"slices"
	"testing"

	"periph.io/x/conn/v3/i2c/i2ctest"
)

// aht10Reply is a measurement: status 0x18 (calibrated, idle), 20 bits of
// humidity, 20 bits of temperature (5.4, figure 17).
func aht10Reply(rh, temp uint32) []byte {
	return []byte{0x18, byte(rh >> 12), byte(rh >> 4), byte(rh<<4) | byte(temp>>16), byte(temp >> 8), byte(temp)}
}

// aht10Ops are opening and one measurement that is answered so.
func aht10Ops(reply []byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x38, W: []byte{0xba}},             // reset
		{Addr: 0x38, W: []byte{0xe1, 0x08, 0x00}}, // calibrate
		{Addr: 0x38, R: []byte{0x18, 0x80, 0x00, 0x08, 0x00, 0x00}},
		{Addr: 0x38, W: []byte{0xac, 0x33, 0x00}}, // measure
		{Addr: 0x38, R: []byte{0x98}},             // it does
		{Addr: 0x38, R: reply},
	}
}

// RH = S/2^20 * 100 %, T = S/2^20 * 200 - 50 °C (6.1, 6.2). 0x80000 is 50 %;
// 0x60000 is 0.375 * 200 - 50 = 25 °C; 0x33333 is 0.2 * 200 - 50 = -10 °C.
func TestAHT10MeasuresAsItsDatasheetSays(t *testing.T) {
	readsClimate(t, newAHT10(), aht10Ops(aht10Reply(0x80000, 0x60000)), 50, 25)
	readsClimate(t, newAHT10(), aht10Ops(aht10Reply(0x73b64, 0x33333)), 45.2, -10)
	readsClimate(t, newAHT10(), aht10Ops(aht10Reply(0xfffff, 0x0cccd)), 100, -40)
	readsClimate(t, newAHT10(), aht10Ops(aht10Reply(1, 0xacccc)), 0, 85)
}

func TestAHT10ConversionIsAwaited(t *testing.T) {
	ops := aht10Ops(aht10Reply(0x80000, 0x60000))
	busy := aht10Reply(0x12345, 0x54321)
	busy[0] = 0x98
	ops = slices.Insert(ops, 5, i2ctest.IO{Addr: 0x38, R: busy}, i2ctest.IO{Addr: 0x38, R: busy})
	ops = slices.Insert(ops, 2, i2ctest.IO{Addr: 0x38, R: busy})
	readsClimate(t, newAHT10(), ops, 50, 25)
}

func TestAHT10ImpossibleReplyIsRejected(t *testing.T) {
	uncalibrated := aht10Reply(0x80000, 0x60000)
	uncalibrated[0] = 0x10
	for want, reply := range map[string][]byte{
		"lost its calibration":         uncalibrated,
		"temperature -50 °C is beyond": aht10Reply(0x80000, 0),
		"temperature 150 °C is beyond": aht10Reply(0x80000, 0xfffff),
		"reads only 0x00":              make([]byte, 6),
		"humidity reads only zeros":    aht10Reply(0, 0x60000),
		"still busy after 400 ms":      slices.Repeat([]byte{0xff}, 6),
	} {
		ops := aht10Ops(reply)
		for range 39 {
			ops = append(ops, ops[5])
		}
		failsWith(t, newAHT10(), ops, "i2c-1 0x38: "+want)
	}
}

func TestUncalibratedAHT10IsRejected(t *testing.T) {
	ops := aht10Ops(nil)
	ops[2].R = []byte{0x10, 0, 0, 0, 0, 0}
	failsWith(t, newAHT10(), ops, "i2c-1 0x38: lost its calibration")
}
