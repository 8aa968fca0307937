package drivers

import (
	"errors"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// The pin ADR low is 0x38, high 0x39.
func newAHT10() Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C("an AHT10", 0x38, 0x39),
		driver:  &driveAHT10,
		celsius: limits{-40, 85},
	}
}

var driveAHT10 = func(p *i2c.Part) hygrometer { return aht10{&aht{Part: p, length: 6}} }

// aht10 is Aosong's AHT10, the predecessor of the AHT20: its command to calibrate is another
// one, and it sends no checksum.
type aht10 struct{ *aht }

// start resets the part and makes it load its calibration (5.4).
func (a aht10) start() error {
	if err := a.reset(); err != nil {
		return err
	}
	return a.calibrate(0xe1)
}

// read takes 80 ms: humidity in % (±2 %, table 1), temperature in °C (±0.3 °C, table 2).
// Without a checksum it rejects a raw humidity of 0, which no air has: missing bytes read as
// zeros.
func (a aht10) read() (rh, celsius float64, err error) {
	r, err := a.convert()
	if err != nil {
		return 0, 0, err
	}
	h, t := ahtRaw(r)
	if h == 0 {
		return 0, 0, errors.New("humidity reads only zeros (is it still wired?)")
	}
	rh, celsius = ahtClimate(h, t)
	return rh, celsius, nil
}
