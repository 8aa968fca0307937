package drivers

import "github.com/holdfast-iot/holdfast/sensors/drivers/i2c"

func newAHT20() Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C("an AHT20", 0x38), // 7.1: the only one
		driver:  &driveAHT20,
		celsius: limits{-40, 85},
	}
}

var driveAHT20 = func(p *i2c.Part) hygrometer { return aht20{&aht{Part: p, length: 7, sum: true}} }

// aht20 is ASAIR's AHT20.
type aht20 struct{ *aht }

// start resets the part, which also recovers one that is stuck. It calibrates the part only if
// its status asks for it: newer parts do not acknowledge the command (5.4, step 1).
func (a aht20) start() error {
	if err := a.reset(); err != nil {
		return err
	}
	status := []byte{0}
	if err := a.Receive(status); err != nil {
		return err
	}
	if status[0]&ahtCalibrated == 0 {
		return a.calibrate(0xbe)
	}
	return a.readBaseline(0)
}

// read takes 80 ms: humidity in % (±2 %, table 2), temperature in °C (±0.3 °C,
// table 3).
func (a aht20) read() (rh, celsius float64, err error) {
	r, err := a.convert()
	if err != nil {
		return 0, 0, err
	}
	rh, celsius = ahtClimate(ahtRaw(r))
	return rh, celsius, nil
}
