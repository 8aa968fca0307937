package drivers

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// digits are a calibration as Bosch's datasheets write it: dig_T1 to dig_T3,
// dig_P1 to dig_P9, dig_H1 to dig_H6.
type digits struct{ t, p, h []int64 }

// bmxExample is the calibration of the worked example in the datasheet of the
// BMP280 (BST-BMP280-DS001, 3.12); the humidity's is of a usual size. bmxRaw is
// the example's pressure 415148 and temperature 519888, and humidity 30000.
var (
	bmxExample = digits{
		[]int64{27504, 26435, -1000},
		[]int64{36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000},
		[]int64{75, 362, 0, 313, 50, 30},
	}
	bmxRaw = []byte{0x65, 0x5a, 0xc0, 0x7e, 0xed, 0x00, 0x75, 0x30}
)

// registers are 0x88 to 0xA1 and 0xE1 to 0xE7 of a BME280 (table 16).
func (d digits) registers() (tp, h []byte) {
	for _, n := range slices.Concat(d.t, d.p) {
		tp = binary.LittleEndian.AppendUint16(tp, uint16(n))
	}
	tp = append(tp, 0, byte(d.h[0]))
	h = binary.LittleEndian.AppendUint16(nil, uint16(d.h[1]))
	h4, h5 := d.h[3], d.h[4]
	return tp, append(h, byte(d.h[2]), byte(h4>>4), byte(h5<<4|h4&15), byte(h5>>4), byte(d.h[5]))
}

// The datasheet's formulas in whole numbers (4.2.3), which no formula in floating
// point shares: t_fine, pressure in 1/256 Pa, humidity in 1/1024 %.

func (d digits) fine(raw int64) int64 {
	x := (raw >> 3) - d.t[0]<<1
	y := (raw >> 4) - d.t[0]
	return (x*d.t[1])>>11 + (((y*y)>>12)*d.t[2])>>14
}

func (d digits) pascal(raw, fine int64) float64 {
	p := append([]int64{0}, d.p...) // p[1] is dig_P1
	x := fine - 128000
	y := x*x*p[6] + (x*p[5])<<17 + p[4]<<35
	x = (x*x*p[3])>>8 + (x*p[2])<<12
	if x = ((1<<47 + x) * p[1]) >> 33; x == 0 {
		return 0
	}
	n := (((1048576-raw)<<31 - y) * 3125) / x
	x = (p[9] * (n >> 13) * (n >> 13)) >> 25
	y = (p[8] * n) >> 19
	return float64((n+x+y)>>8+p[7]<<4) / 256
}

func (d digits) percent(raw, fine int64) float64 {
	h := append([]int64{0}, d.h...)
	x := fine - 76800
	x = ((raw<<14 - h[4]<<20 - h[5]*x + 16384) >> 15) *
		(((((((x*h[6])>>10)*(((x*h[3])>>11)+32768))>>10)+2097152)*h[2] + 8192) >> 14)
	x -= (((((x >> 15) * (x >> 15)) >> 7) * h[1]) >> 4)
	return float64(min(max(x, 0), 419430400)>>12) / 1024
}

// Real parts are spread around these calibrations; dig_H4 and dig_H5 of some are
// negative. The formulas differ by less than the part's noise.
func TestClimateMatchesTheIntegerFormulas(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	about := func(n, spread int64) int64 { return n + random.Int64N(2*spread+1) - spread }
	negative := 0
	for range 20000 {
		d := digits{
			[]int64{about(27500, 1500), about(26400, 800), about(-500, 1000)},
			[]int64{about(36500, 2000), about(-10700, 400), about(3024, 100), about(4000, 4000), about(0, 500), -7,
				about(12000, 4000), about(-12000, 4000), about(5000, 2000)},
			[]int64{about(75, 30), about(362, 30), about(2, 2), about(0, 2047), about(0, 300), about(0, 127)},
		}
		rawT, rawP, rawH := about(519888, 120000), about(400000, 120000), about(30000, 12000)
		data := binary.BigEndian.AppendUint64(nil, uint64(rawP)<<44|uint64(rawT)<<20|uint64(rawH))
		tp, h := d.registers()
		c := bmxCalibrationOf(tp, h)
		got, fine := c.climate(data), d.fine(rawT)
		if d.h[3] < 0 || d.h[4] < 0 {
			negative++
		}
		if want := float64(fine) / 5120; math.Abs(got.temperature-want) > 0.01 {
			t.Fatalf("%+v of %d: %v °C, want %v", d, rawT, got.temperature, want)
		}
		if want := d.pascal(rawP, fine) / 100; math.Abs(got.pressure-want) > 0.02 {
			t.Fatalf("%+v of %d: %v hPa, want %v", d, rawP, got.pressure, want)
		}
		if want := d.percent(rawH, fine); math.Abs(got.humidity-want) > 0.02 {
			t.Fatalf("%+v of %d: %v %%, want %v", d, rawH, got.humidity, want)
		}
	}
	if negative < 10000 {
		t.Error("only", negative, "calibrations had a negative dig_H4 or dig_H5")
	}
}

// 12 bits, signed: 0xE4 = 0xFF, 0xE5 = 0x0E is -2; 0xE5 = 0xE., 0xE6 = 0x80 is
// -2048 + 14 (table 16).
func TestNegativeCalibrationOfTheHumidityIsReadAsSigned(t *testing.T) {
	tp, h := bmxExample.registers()
	h[3], h[4], h[5], h[6] = 0xff, 0xee, 0x80, 0xe2
	if c := bmxCalibrationOf(tp, h); c.h4 != -2 || c.h5 != -2034 || c.h6 != -30 {
		t.Errorf("dig_H4 %v, dig_H5 %v, dig_H6 %v", c.h4, c.h5, c.h6)
	}
}
