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

// tmp102Settings are 12 bits (EM off), measuring by itself 4 times a second, and
// two measurements in a row to decide about the alarm output. Power-up makes that
// one, so that a dip of the part's power shows: until it has measured again, it
// reads 0 °C.
const (
	tmp102Settings = 0x6880
	tmp102Own      = 0x8020 // OS and AL, which the part sets as it likes
)

// The pin ADD0 to ground is 0x48, to V+ 0x49, to SDA 0x4a, to SCL 0x4b.
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

// start writes the settings and waits until a measurement with them is there.
func (s tmp102) start() error {
	if err := s.WriteWord(tmp102Config, tmp102Settings); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.Pause(300 * time.Millisecond) // a turn of 250 ms and a measurement of at most 35 ms
}

// check makes sure that the part is one and has its settings: it has no id, and
// the two bits R always read 1.
func (s tmp102) check() error {
	config, err := s.ReadWord(tmp102Config)
	if err == nil && config&^tmp102Own != tmp102Settings {
		err = fmt.Errorf("settings read 0x%04x, not 0x%04x (is it a TMP102? has its power dipped?)",
			config&^tmp102Own, tmp102Settings)
	}
	return err
}

// celsius is the upper 12 bits, of 0.0625 °C each (6.5.2).
func (tmp102) celsius(raw uint16) (float64, error) { return float64(int16(raw)>>4) / 16, nil }
