package drivers

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// bmp3NVM is a calibration of the size that parts have. The datasheet has no example of one.
var bmp3NVM = [21]byte{
	0x08, 0x6b, 0x10, 0x49, 0xf7, // T1 27400, T2 18704, T3 -9
	0x50, 0xfd, 0x80, 0xf3, 0x22, 0x00, // P1 -688, P2 -3200, P3 34, P4 0
	0x90, 0x66, 0x20, 0x7c, 0xf4, 0xf7, // P5 26256, P6 31776, P7 -12, P8 -9
	0x00, 0x41, 0x0a, 0xc6, // P9 16640, P10 10, P11 -58
}

// bmp3Raw is a pressure of 6,500,000 and a temperature of 8,400,000.
var bmp3Raw = [6]byte{0xa0, 0x2e, 0x63, 0x40, 0x2c, 0x80}

// bmp3Ops are opening and one measurement.
func bmp3Ops(chip byte, data [6]byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x76, W: []byte{0x00}, R: []byte{chip}},
		{Addr: 0x76, W: []byte{0x7e, 0xb6}},
		{Addr: 0x76, W: []byte{0x1c, 0x00}},
		{Addr: 0x76, W: []byte{0x1f, 0x00}},
		{Addr: 0x76, W: []byte{0x31}, R: bmp3NVM[:]},
		{Addr: 0x76, W: []byte{0x1b, 0x13}},
		{Addr: 0x76, W: []byte{0x03}, R: []byte{0x70}},
		{Addr: 0x76, W: []byte{0x1b}, R: []byte{0x03, 0x00}},
		{Addr: 0x76, W: []byte{0x04}, R: data[:]},
	}
}

// bmp3Digits are Bosch's formulas in whole numbers, by the same calibration: temperature in
// 1/65536 °C, pressure in 1/100 Pa. The driver has those in floating point.
func bmp3Digits(press, temp int64) (celsius, hPa float64) {
	const t1, t2, t3 = 27400, 18704, -9
	const p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11 = -688, -3200, 34, 0, 26256, 31776, -12, -9, 16640, 10, -58
	x := temp - t1<<8
	fine := ((x*t2)<<18 + x*x*t3) >> 32
	square := fine * fine
	cube := ((square >> 6) * fine) >> 8
	offset := int64(p5)<<47 + (p8*cube)>>5 + (p7*square)<<4 + (p6*fine)<<22
	slope := int64(p1-1<<14)<<46 + (p4*cube)>>5 + (p3*square)<<2 + ((p2-1<<14)*fine)<<21
	second := ((p10*fine + p9<<16) * press) >> 13
	third := ((p11 * press * press >> 16) * press) >> 7
	sum := offset>>2 + (slope>>24)*press + ((second*(press/10))>>9)*10 + third
	return float64(fine) / 65536, float64(uint64(sum)*25>>40) / 10000
}

func TestBMP390MatchesTheIntegerFormulas(t *testing.T) {
	c := bmp3CalibrationOf(bmp3NVM)
	for press := int64(5_200_000); press < 7_600_000; press += 311_111 {
		for temp := int64(7_200_000); temp < 9_600_000; temp += 277_777 {
			data := [6]byte{byte(press), byte(press >> 8), byte(press >> 16), byte(temp), byte(temp >> 8), byte(temp >> 16)}
			celsius, hPa := c.climate(data)
			wantC, wantP := bmp3Digits(press, temp)
			if math.Abs(celsius-wantC) > 0.001 || math.Abs(hPa-wantP) > 0.01 {
				t.Errorf("%d, %d: %v °C %v hPa, want %v, %v", press, temp, celsius, hPa, wantC, wantP)
			}
		}
	}
}

// bmp3Want is what the whole numbers make of bmp3Raw, to a hundredth: 24.075 °C and
// 1125.66 hPa.
var bmp3Want = []float64{24.07, 1125.66}

func TestBMP390MeasuresOnce(t *testing.T) {
	celsius, hPa := bmp3Digits(6_500_000, 8_400_000)
	if math.Abs(celsius-bmp3Want[0]) > 0.01 || math.Abs(hPa-bmp3Want[1]) > 0.01 {
		t.Errorf("the whole numbers have %v, %v", celsius, hPa)
	}
	measures(t, newBMP390(), bmp3Ops(0x60, bmp3Raw), "temperature pressure", bmp3Want...)
	measures(t, newBMP390(), bmp3Ops(0x50, bmp3Raw), "temperature pressure", bmp3Want...) // a BMP388
}

func TestBMP390WaitsForItsMeasurement(t *testing.T) {
	ops := bmp3Ops(0x60, bmp3Raw)
	busy := []i2ctest.IO{
		{Addr: 0x76, W: []byte{0x03}, R: []byte{0x10}},
		{Addr: 0x76, W: []byte{0x1b}, R: []byte{0x13, 0x00}},
	}
	slow := append(append(append([]i2ctest.IO{}, ops[:6]...), busy...), ops[6:]...)
	measures(t, newBMP390(), slow, "temperature pressure", bmp3Want...)
	for range 9 {
		slow = append(append(append([]i2ctest.IO{}, ops[:6]...), busy...), slow[6:]...)
	}
	refuses(t, newBMP390(), slow, "i2c-1 0x76: still measuring after 26 ms (status 0x10, mode 0x10")
}

func TestBMP390RejectsInvalidData(t *testing.T) {
	refuses(t, newBMP390(), bmp3Ops(0x58, bmp3Raw), "i2c-1 0x76: this is not a BMP390 or BMP388: chip id 0x58")
	reset := [6]byte{0x00, 0x00, 0x80, 0x00, 0x00, 0x80}
	refuses(t, newBMP390(), bmp3Ops(0x60, reset), "i2c-1 0x76: ")
	for at, name := range map[int]string{0: "pressure", 3: "temperature"} {
		data := bmp3Raw
		copy(data[at:], reset[:3])
		refuses(t, newBMP390(), bmp3Ops(0x60, data), "i2c-1 0x76: "+name+" was not measured")
	}
	ops := bmp3Ops(0x60, bmp3Raw)
	ops[7].R = []byte{0x00, 0x02} // as after power on
	refuses(t, newBMP390(), ops, "i2c-1 0x76: has lost its settings (0x00 0x02")
}

func TestBMP390FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newBMP390(), bmp3Ops(0x60, bmp3Raw), "i2c-1 0x76")
	survivesDeadBus(t, newBMP390(), bmp3Ops(0x60, bmp3Raw), time.Second)
}

func FuzzBMP390(f *testing.F) {
	f.Add(bmp3NVM[:], bmp3Raw[:])
	f.Fuzz(func(t *testing.T, nvm, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
				switch {
				case len(w) == 0:
				case w[0] == bmp3Chip:
					r[0] = 0x60
				case w[0] == bmp3Status && len(r) == 1:
					r[0] = 0x70
				case w[0] == bmp3Power && len(r) == 2:
					r[0] = bmp3Enabled
				case w[0] == bmp3Calib:
					copy(r, nvm)
				case w[0] == bmp3Data:
					copy(r, data)
				}
				return nil
			}}
			within(t, newBMP390(), bus, limits{-40, 85}, limits{300, 1250})
		})
	})
}
