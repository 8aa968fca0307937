package drivers

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c/i2ctest"
)

// The calibration of the worked example in Bosch's datasheet of the BMP280
// (BST-BMP280-DS001, 3.12), which has the same thermometer and barometer; the
// humidity's is of a usual size.
var (
	bmeT = []int{27504, 26435, -1000}                                     // dig_T1 to dig_T3
	bmeP = []int{36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000} // dig_P1 to dig_P9
	bmeH = struct{ h1, h2, h3, h4, h5, h6 int }{75, 362, 0, 313, 50, 30}  // dig_H1 to dig_H6
	bmeR = []byte{0x65, 0x5a, 0xc0, 0x7e, 0xed, 0x00, 0x75, 0x30}         // 415148, 519888, 30000
	bmeW = []byte{0xf4, 0x24, 0xf2, 0x01, 0xf5, 0xa0, 0xf4, 0x24}         // asleep, 1x each, no filter
)

func bmeCalibration() (tph, h []byte) {
	for _, n := range slices.Concat(bmeT, bmeP) {
		tph = binary.LittleEndian.AppendUint16(tph, uint16(n))
	}
	tph = append(tph, 0, byte(bmeH.h1))
	h = binary.LittleEndian.AppendUint16(nil, uint16(bmeH.h2))
	return tph, append(h, byte(bmeH.h3), byte(bmeH.h4>>4), byte(bmeH.h5<<4|bmeH.h4&15), byte(bmeH.h5>>4), byte(bmeH.h6))
}

// bmeOps are opening and one measurement that reads so.
func bmeOps(chip byte, data []byte) []i2ctest.IO {
	tph, h := bmeCalibration()
	return []i2ctest.IO{
		{Addr: 0x76, W: []byte{0xd0}, R: []byte{chip}},
		{Addr: 0x76, W: []byte{0x88}, R: tph},
		{Addr: 0x76, W: []byte{0xe1}, R: h},
		{Addr: 0x76, W: bmeW},
		{Addr: 0x76, W: []byte{0xf4, 0x25}},            // measure once
		{Addr: 0x76, W: []byte{0xf3}, R: []byte{0x08}}, // still measuring
		{Addr: 0x76, W: []byte{0xf3}, R: []byte{0x00}},
		{Addr: 0x76, W: []byte{0xf7}, R: data},
	}
}

// bmeRH is the datasheet's formula of the humidity in floating point (8.1), to
// check periph's in whole numbers.
func bmeRH(raw, tFine float64) float64 {
	c := bmeH
	x := tFine - 76800
	x = (raw - (float64(c.h4)*64 + float64(c.h5)/16384*x)) *
		(float64(c.h2) / 65536 * (1 + float64(c.h6)/67108864*x*(1+float64(c.h3)/67108864*x)))
	return x * (1 - float64(c.h1)*x/524288)
}

// The example: 519888 is 25.08 °C (t_fine 128422), 415148 is 100653 Pa.
func TestBME280MeasuresAsItsDatasheetSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &i2ctest.Playback{Ops: bmeOps(0x60, bmeR), DontPanic: true}
		samples, err := once(t, newBME280(), bus)
		names, got := values(samples)
		if err != nil || names != "humidity temperature pressure" {
			t.Fatal(names, err)
		}
		if rh := bmeRH(30000, 128422); math.Abs(got[0]-rh) > 0.02 || rh < 20 || rh > 80 {
			t.Errorf("humidity %v, want %v", got[0], rh)
		}
		if got[1] != 25.08 || got[2] != 1006.53 {
			t.Errorf("%v, want 25.08 °C and 1006.53 hPa", got)
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

// t_fine = (400000/16384 - 27504/1024)*26435 + (400000/131072 - 27504/8192)²*-1000
// = -64731; T = t_fine/5120 = -12.64 °C (8.1).
func TestBME280MeasuresBelowZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := []byte{0x65, 0x5a, 0xc0, 400000 >> 12, 400000 >> 4 & 255, 400000 << 4 & 255, 0x75, 0x30}
		samples, err := once(t, newBME280(), &i2ctest.Playback{Ops: bmeOps(0x60, data), DontPanic: true})
		if _, got := values(samples); err != nil || math.Abs(got[1]+12.64) > 0.011 {
			t.Errorf("%v, %v; want -12.64 °C", got, err)
		}
	})
}

func TestBME280DataThatIsNoMeasurementIsRefused(t *testing.T) {
	with := func(at int, bytes ...byte) []byte {
		data := slices.Clone(bmeR)
		copy(data[at:], bytes)
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"pressure skipped":    {with(0, 0x80, 0, 0), "pressure was not measured"},
		"temperature skipped": {with(3, 0x80, 0, 0), "temperature was not measured"},
		"humidity skipped":    {with(6, 0x80, 0), "humidity was not measured"},
		"all 0xff":            {slices.Repeat([]byte{0xff}, 8), "reads only 0xff"},
		"all 0x00":            {make([]byte, 8), "reads only 0x00"},
		"too hot":             {with(3, 0xc0, 0, 0), "temperature"},
		"too high":            {with(0, 0xe0, 0, 0), "pressure"},
	} {
		synctest.Test(t, func(t *testing.T) {
			samples, err := once(t, newBME280(), &i2ctest.Playback{Ops: bmeOps(0x60, c.data), DontPanic: true})
			if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x76: "+c.want) || samples != nil {
				t.Errorf("%s: %v, %v", name, samples, err)
			}
		})
	}
}

func TestOtherPartAtItsAddressIsNamed(t *testing.T) {
	for chip, want := range map[byte]string{
		0x58: "BMP280", 0x61: "BME680", 0x55: "BMP180", 0xff: "chip id 0xff, not 0x60", 0x00: "chip id 0x00, not 0x60",
	} {
		_, err := once(t, newBME280(), &i2ctest.Playback{Ops: bmeOps(chip, bmeR), DontPanic: true})
		if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x76: this is") || !strings.Contains(err.Error(), want) {
			t.Errorf("0x%02x: %v", chip, err)
		}
	}
}

func TestBME280CalibrationThatPeriphMisreadsIsRefused(t *testing.T) {
	for _, at := range []int{3, 5} { // the high bytes of dig_H4 and dig_H5
		ops := bmeOps(0x60, bmeR)
		ops[2].R = slices.Clone(ops[2].R)
		ops[2].R[at] = 0xff
		_, err := once(t, newBME280(), &i2ctest.Playback{Ops: ops, DontPanic: true})
		if err == nil || !strings.Contains(err.Error(), "calibration") {
			t.Error(at, err)
		}
	}
}

// periph asks for ever whether the part is done while the status reads 0xFF.
func TestBME280EndsOnABusThatFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opening := &i2ctest.Playback{Ops: bmeOps(0x60, bmeR)[:5], DontPanic: true}
		stuck := reading(0xff)
		bus := &fakeBus{tx: func(n int, addr uint16, w, r []byte) error {
			if n < 5 {
				return opening.Tx(addr, w, r)
			}
			return stuck.Tx(addr, w, r)
		}}
		start := time.Now()
		_, err := once(t, newBME280(), bus)
		if err == nil || !strings.Contains(err.Error(), "not ready after 64 transfers") {
			t.Error(err)
		}
		if took := time.Since(start); took > time.Second || stuck.count != mostTransfers-1 {
			t.Error(took, stuck.count)
		}
	})
}

func TestBME280FailsWithTheErrnoWhereverTheAcknowledgeIsMissing(t *testing.T) {
	for n := range len(bmeOps(0x60, bmeR)) {
		synctest.Test(t, func(t *testing.T) {
			bus := failAt(&i2ctest.Playback{Ops: bmeOps(0x60, bmeR), DontPanic: true}, n, syscall.EREMOTEIO)
			_, err := once(t, newBME280(), bus)
			if !errors.Is(err, syscall.EREMOTEIO) || err.Error() != "i2c-1 0x76: no acknowledge" {
				t.Errorf("transfer %d: %v", n, err)
			}
			if bus.count != n+1 || bus.closed != 1 {
				t.Errorf("transfer %d: %d transfers, closed %d times", n, bus.count, bus.closed)
			}
		})
	}
}

func TestBME280HasTwoAddresses(t *testing.T) {
	for addr, good := range map[uint16]bool{0x76: true, 0x77: true, 0x75: false, 0: false} {
		o := newBME280().(*bme280Options)
		o.Address = addr
		if p := o.Check(); (p == nil) != good {
			t.Errorf("0x%02x: %v", addr, p)
		}
	}
}

// Whatever the part says, a measurement ends and is an error or within the limits.
func FuzzBME280(f *testing.F) {
	tph, h := bmeCalibration()
	f.Add(tph, h, bmeR)
	f.Add(make([]byte, 26), make([]byte, 7), make([]byte, 8))
	f.Fuzz(func(t *testing.T, tph, h, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := &fakeBus{tx: func(_ int, _ uint16, w, r []byte) error {
				copy(r, map[byte][]byte{0xd0: {0x60}, 0x88: tph, 0xe1: h, 0xf7: data}[w[0]])
				return nil
			}}
			samples, err := once(t, newBME280(), bus)
			if err != nil {
				return
			}
			_, got := values(samples)
			for i, l := range []limits{{0, 100}, {-40, 85}, {300, 1100}} {
				if !(got[i] >= l.min && got[i] <= l.max) {
					t.Errorf("%v", got)
				}
			}
		})
	})
}
