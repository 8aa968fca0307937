package drivers

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// The pin ADDR low is 0x44, high 0x45.
func newSHT3x() Options {
	return &hygrometerOptions{
		onI2C:   newOnI2C("an SHT3x", 0x44, 0x45),
		driver:  &driveSHT3x,
		celsius: limits{-40, 125},
	}
}

var driveSHT3x = func(p *i2c.Part) hygrometer { return sht3x{p, 16 * time.Millisecond} } // table 4: 15.5 ms

// sht3x is Sensirion's SHT30, SHT31 or SHT35.
type sht3x struct {
	*i2c.Part
	longest time.Duration // that a measurement takes
}

const sht3xCRC = 0xff // where the checksum starts (4.12)

// start ends a series of measurements that somebody left running, in which the
// part does not take the reset, and resets it (4.8, 4.9).
func (s sht3x) start() error {
	s.TryCommand(0x30, 0x93) // an idle part has nothing to end
	if err := s.Pause(s.longest); err != nil {
		return err
	}
	if err := s.Command(0x30, 0xa2); err != nil {
		return err
	}
	status, err := s.Query(10*time.Millisecond, sht3xCRC, 1, 0xf3, 0x2d)
	if err != nil {
		return err
	}
	// bit 13: the heater is on (status register)
	if status[0]&0x2000 != 0 {
		return fmt.Errorf("heats itself in spite of a reset (status 0x%04x)", status[0])
	}
	return nil
}

// read measures once, with high repeatability and without holding the clock line
// low (4.3): humidity in % (SHT30 ±2 %, SHT35 ±1.5 %, table 1), temperature in °C
// (±0.2 °C, table 2).
func (s sht3x) read() (rh, celsius float64, err error) {
	w, err := s.Query(s.longest, sht3xCRC, 2, 0x24, 0x00)
	if err != nil {
		return 0, 0, err
	}
	rh, celsius = sht3xClimate(w[0], w[1])
	return rh, celsius, nil
}

// sht3xClimate is the conversion of 4.13.
func sht3xClimate(t, h uint16) (rh, celsius float64) {
	return float64(h) / 65535 * 100, float64(t)/65535*175 - 45
}
