package drivers

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the TMP102 (datasheet SBOS397, 6.5).
const (
	tmp102Temp   = 0
	tmp102Config = 1
)

// tmp102Settings are: 12 bits (EM off), continuous at 4 measurements per second, and a fault
// queue of two measurements for the alarm output. We do not need the output. But the queue
// differs from the one after power-up, so that check detects a power dip: after one, the part
// reads 0 °C until the next measurement.
const (
	tmp102Settings = 0x6880
	tmp102Own      = 0x8020 // OS and AL, which the part changes itself
)

// The pin ADD0 at ground is 0x48, at V+ 0x49, at SDA 0x4a, at SCL 0x4b.
func newTMP102() Options {
	return &thermometerOptions{
		onI2C:    newOnI2C("a TMP102", 0x48, 0x49, 0x4a, 0x4b),
		driver:   &driveTMP102,
		register: tmp102Temp,
		celsius:  limits{-55, 125},
	}
}

var driveTMP102 = func(p *i2c.Part) thermometer { return tmp102{p} }

// tmp102 is TI's TMP102 or TMP112: ±0.5 °C from -25 to 85 °C, steps of 0.0625 °C,
// at most 300 ms old.
type tmp102 struct{ *i2c.Part }

// start writes the settings and waits for a measurement with them.
func (s tmp102) start() error {
	if err := s.WriteWord(tmp102Config, tmp102Settings); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.Pause(300 * time.Millisecond) // a cycle of 250 ms and a measurement of at most 35 ms
}

// check returns an error if the part has other settings. It has no id, but its two bits R
// always read 1.
func (s tmp102) check() error {
	config, err := s.ReadWord(tmp102Config)
	if err == nil && config&^tmp102Own != tmp102Settings {
		err = fmt.Errorf("settings read 0x%04x, not 0x%04x (is it a TMP102? has its power dipped?)",
			config&^tmp102Own, tmp102Settings)
	}
	return err
}

// celsius converts the upper 12 bits, in steps of 0.0625 °C (6.5.2).
func (tmp102) celsius(raw uint16) (float64, error) { return float64(int16(raw)>>4) / 16, nil }
