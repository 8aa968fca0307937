package drivers

import (
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// bmeOps are opening and one measurement that reads so.
func bmeOps(chip byte, data []byte) []i2ctest.IO {
	tp, h := bmxExample.registers()
	return []i2ctest.IO{
		{Addr: 0x76, W: []byte{0xd0}, R: []byte{chip}},
		{Addr: 0x76, W: []byte{0xe0, 0xb6}},            // reset
		{Addr: 0x76, W: []byte{0xf3}, R: []byte{0x01}}, // copies its calibration
		{Addr: 0x76, W: []byte{0xf3}, R: []byte{0x00}},
		{Addr: 0x76, W: []byte{0xf5, 0x00}}, // no filter
		{Addr: 0x76, W: []byte{0xe1}, R: h},
		{Addr: 0x76, W: []byte{0x88}, R: tp},
		{Addr: 0x76, W: []byte{0xf2, 0x01, 0xf4, 0x25}},            // measure each once
		{Addr: 0x76, W: []byte{0xf2}, R: []byte{0x01, 0x08, 0x25}}, // still measuring
		{Addr: 0x76, W: []byte{0xf2}, R: []byte{0x01, 0x00, 0x24}},
		{Addr: 0x76, W: []byte{0xf7}, R: data},
	}
}

// The example: 519888 is 25.08 °C (t_fine 128422), 415148 is 100653 Pa.
func TestBME280MeasuresAsItsDatasheetSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &i2ctest.Playback{Ops: bmeOps(0x60, bmxRaw), DontPanic: true}
		samples, err := once(t, newBME280(), bus)
		names, got := values(samples)
		if err != nil || names != "humidity temperature pressure" {
			t.Fatal(names, err)
		}
		if rh := bmxExample.percent(30000, 128422); math.Abs(got[0]-rh) > 0.02 || rh < 20 || rh > 80 {
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

// with returns what the example reads, with some bytes changed.
func with(at int, bytes ...byte) []byte {
	data := slices.Clone(bmxRaw)
	copy(data[at:], bytes)
	return data
}

func TestBME280InvalidDataIsRejected(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"after a reset": {[]byte{0x80, 0, 0, 0x80, 0, 0, 0x80, 0}, "nothing was measured"},
		"all 0xff":      {slices.Repeat([]byte{0xff}, 8), "reads only 0xff"},
		"all 0x00":      {make([]byte, 8), "reads only 0x00"},
		"too hot":       {with(3, 0xc0, 0, 0), "temperature"},
		"too high":      {with(0, 0xe0, 0, 0), "pressure"},
		"no humidity":   {with(6, 0, 0), "humidity reads only 0x00"},
		"all humidity":  {with(6, 0xff, 0xff), "humidity reads only 0xff"},
		"no pressure":   {with(0, 0, 0, 0), "pressure reads only 0x00"},
		"all heat":      {with(3, 0xff, 0xff, 0xf0), "temperature reads only 0xff"},
	} {
		synctest.Test(t, func(t *testing.T) {
			samples, err := once(t, newBME280(), &i2ctest.Playback{Ops: bmeOps(0x60, c.data), DontPanic: true})
			if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x76: "+c.want) || samples != nil {
				t.Errorf("%s: %v, %v", name, samples, err)
			}
		})
	}
}

// A part that does not receive the command has the data of the last measurement.
func TestBME280WithoutAMeasurementIsRejected(t *testing.T) {
	for want, regs := range map[string][]byte{
		"has lost its settings (0x00 0x00":               {0, 0, 0},
		"has lost its settings (0x00 0x24":               {0x00, 0, 0x24},
		"still measuring after 30 ms (status 0x00, mode": {0x01, 0, 0x25},
		"still measuring after 30 ms (status 0x08, mode": {0x01, 8, 0x25},
	} {
		ops := bmeOps(0x60, bmxRaw)
		ops = ops[:8]
		for range 10 {
			ops = append(ops, i2ctest.IO{Addr: 0x76, W: []byte{0xf2}, R: regs})
		}
		refuses(t, newBME280(), ops, "i2c-1 0x76: "+want)
	}
}

// The reset values of the registers also occur at 26.46 °C: a room with this temperature must not
// cause failures.
func TestBME280ResetValueOfOneQuantityIsAccepted(t *testing.T) {
	for name, data := range map[string][]byte{
		"26.46 °C": with(3, 0x80, 0, 0), "humidity": with(6, 0x80, 0), "pressure": with(0, 0x80, 0, 0),
	} {
		synctest.Test(t, func(t *testing.T) {
			samples, err := once(t, newBME280(), &i2ctest.Playback{Ops: bmeOps(0x60, data), DontPanic: true})
			if _, got := values(samples); err != nil || name == "26.46 °C" && got[1] != 26.46 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		})
	}
}

func TestOtherPartAtItsAddressIsNamed(t *testing.T) {
	for chip, want := range map[byte]string{
		0x58: "BMP280 (chip id 0x58): write kind: bmp280", 0x61: "BME680", 0x55: "BMP180",
		0xff: "chip id 0xff, not 0x60", 0x00: "chip id 0x00, not 0x60",
	} {
		_, err := once(t, newBME280(), &i2ctest.Playback{Ops: bmeOps(chip, bmxRaw), DontPanic: true})
		if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x76: this is") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("0x%02x: %v", chip, err)
		}
	}
}

func TestBME280CalibrationOfADeadBusIsRejected(t *testing.T) {
	for _, at := range []int{5, 6} {
		for _, dead := range []byte{0x00, 0xff} {
			synctest.Test(t, func(t *testing.T) {
				ops := bmeOps(0x60, bmxRaw)
				ops[at].R = slices.Repeat([]byte{dead}, len(ops[at].R))
				_, err := once(t, newBME280(), &i2ctest.Playback{Ops: ops, DontPanic: true})
				if err == nil || !strings.Contains(err.Error(), "is it still wired?") {
					t.Error(at, dead, err)
				}
			})
		}
	}
}

// On a bus that reads 0xff the part seems to be busy for ever.
func TestBME280TimesOutOnASilentBus(t *testing.T) {
	for n := range len(bmeOps(0x60, bmxRaw)) {
		synctest.Test(t, func(t *testing.T) {
			opening := &i2ctest.Playback{Ops: bmeOps(0x60, bmxRaw)[:n], DontPanic: true}
			stuck := i2cfake.Reading(0xff)
			bus := &i2cfake.Bus{Answer: func(i int, addr uint16, w, r []byte) error {
				if i < n {
					return opening.Tx(addr, w, r)
				}
				return stuck.Tx(addr, w, r)
			}}
			start := time.Now()
			samples, err := once(t, newBME280(), bus)
			if err == nil {
				t.Errorf("after %d transfers: took %v for a measurement", n, samples)
			}
			if took := time.Since(start); took > 100*time.Millisecond || stuck.Count > i2c.MaxTransfers {
				t.Error(n, took, stuck.Count)
			}
		})
	}
}

func TestBME280FailsAtEachTransfer(t *testing.T) {
	for n := range len(bmeOps(0x60, bmxRaw)) {
		synctest.Test(t, func(t *testing.T) {
			bus := i2cfake.FailAt(&i2ctest.Playback{Ops: bmeOps(0x60, bmxRaw), DontPanic: true}, n, syscall.EREMOTEIO)
			_, err := once(t, newBME280(), bus)
			if !errors.Is(err, syscall.EREMOTEIO) || err.Error() != "i2c-1 0x76: no acknowledge" {
				t.Errorf("transfer %d: %v", n, err)
			}
			if bus.Count != n+1 || bus.Closed != 1 {
				t.Errorf("transfer %d: %d transfers, closed %d times", n, bus.Count, bus.Closed)
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

// For any data of the part, a measurement ends with an error or a value within the limits.
func FuzzBME280(f *testing.F) {
	tph, h := bmxExample.registers()
	f.Add(tph, h, bmxRaw)
	f.Add(make([]byte, 26), make([]byte, 7), make([]byte, 8))
	f.Fuzz(func(t *testing.T, tph, h, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
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
