package drivers

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// bmpOps are opening and one measurement that reads so.
func bmpOps(chip byte, data []byte) []i2ctest.IO {
	tp, _ := bmxExample.registers()
	return []i2ctest.IO{
		{Addr: 0x76, W: []byte{0xd0}, R: []byte{chip}},
		{Addr: 0x76, W: []byte{0xe0, 0xb6}}, // reset
		{Addr: 0x76, W: []byte{0xf3}, R: []byte{0x00}},
		{Addr: 0x76, W: []byte{0xf5, 0x00}}, // no filter
		{Addr: 0x76, W: []byte{0x88}, R: tp[:24]},
		{Addr: 0x76, W: []byte{0xf4, 0x25}}, // measure each once
		{Addr: 0x76, W: []byte{0xf2}, R: []byte{0x00, 0x00, 0x24}},
		{Addr: 0x76, W: []byte{0xf7}, R: data},
	}
}

// The worked example of 3.12: 25.08 °C, 100653 Pa.
func TestBMP280MeasuresAsItsDatasheetSays(t *testing.T) {
	for _, chip := range []byte{0x56, 0x57, 0x58} {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2ctest.Playback{Ops: bmpOps(chip, bmxRaw[:6]), DontPanic: true}
			samples, err := once(t, newBMP280(), bus)
			names, got := values(samples)
			if err != nil || names != "temperature pressure" || !slices.Equal(got, []float64{25.08, 1006.53}) {
				t.Errorf("%s %v, %v", names, got, err)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBMP280InvalidDataIsRejected(t *testing.T) {
	for want, data := range map[string][]byte{
		"nothing was measured": {0x80, 0, 0, 0x80, 0, 0},
		"reads only 0xff":      slices.Repeat([]byte{0xff}, 6),
		"reads only 0x00":      make([]byte, 6),
	} {
		synctest.Test(t, func(t *testing.T) {
			samples, err := once(t, newBMP280(), &i2ctest.Playback{Ops: bmpOps(0x58, data), DontPanic: true})
			if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x76: "+want) || samples != nil {
				t.Errorf("%s: %v, %v", want, samples, err)
			}
		})
	}
}

func TestBME280ConfiguredAsBMP280IsReported(t *testing.T) {
	for chip, want := range map[byte]string{
		0x60: "this is a BME280 (chip id 0x60): write kind: bme280",
		0x55: "this is a BMP085 or BMP180 (chip id 0x55), which kind bmp280 does not read",
		0xff: "this is not a BMP280: chip id 0xff, not 0x58",
		0x00: "this is not a BMP280: chip id 0x00, not 0x58",
	} {
		_, err := once(t, newBMP280(), &i2ctest.Playback{Ops: bmpOps(chip, nil), DontPanic: true})
		if err == nil || err.Error() != "i2c-1 0x76: "+want {
			t.Errorf("0x%02x: %v", chip, err)
		}
	}
}

func TestBMP280FailsAtEachTransfer(t *testing.T) {
	for n := range len(bmpOps(0x58, nil)) {
		synctest.Test(t, func(t *testing.T) {
			bus := i2cfake.FailAt(&i2ctest.Playback{Ops: bmpOps(0x58, bmxRaw[:6]), DontPanic: true}, n,
				syscall.EREMOTEIO)
			_, err := once(t, newBMP280(), bus)
			if !errors.Is(err, syscall.EREMOTEIO) || err.Error() != "i2c-1 0x76: no acknowledge" {
				t.Errorf("transfer %d: %v", n, err)
			}
			if bus.Count != n+1 || bus.Closed != 1 {
				t.Errorf("transfer %d: %d transfers, closed %d times", n, bus.Count, bus.Closed)
			}
		})
	}
}

// For any data of the part, a measurement ends with an error or a value within the limits.
func FuzzBMP280(f *testing.F) {
	tp, _ := bmxExample.registers()
	f.Add(tp[:24], bmxRaw[:6])
	f.Add(make([]byte, 24), make([]byte, 6))
	f.Fuzz(func(t *testing.T, tp, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
				copy(r, map[byte][]byte{0xd0: {0x58}, 0x88: tp, 0xf7: data}[w[0]])
				return nil
			}}
			samples, err := once(t, newBMP280(), bus)
			if err != nil {
				return
			}
			_, got := values(samples)
			for i, l := range []limits{{-40, 85}, {300, 1100}} {
				if !(got[i] >= l.min && got[i] <= l.max) {
					t.Errorf("%v", got)
				}
			}
		})
	})
}
