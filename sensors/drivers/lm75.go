package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the LM75 and of all that are compatible with it.
const (
	lm75Temp   = 0
	lm75Config = 1 // of 8 bits
	lm75Hyst   = 2
	lm75Over   = 3
)

// lm75Queue makes two measurements in a row decide about the alarm output in
// place of one. It is not what power-up makes it, so that a dip of the part's
// power shows: until it has measured again, what it reads is not a temperature.
const lm75Queue = 0x08

// lm75Options are the options of kind lm75: National's thermometer on I2C and
// its compatibles, LM75A, LM75B, DS75, TMP75, ADT75, MCP9800, STDS75.
type lm75Options struct {
	thermometerOptions
	// 9 to 12, of a DS75, TMP75, MCP9800 or STDS75; an LM75 has no choice: leave it out
	Bits uint8 `yaml:"bits"`
}

// The pins A0 to A2 are the lowest bits.
func newLM75() Options {
	return &lm75Options{thermometerOptions: thermometerOptions{
		onI2C:    newOnI2C("an LM75", 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f),
		register: lm75Temp,
		celsius:  limits{-55, 125},
	}}
}

// Open opens the part and starts it. The driver is set in a copy, because it is not
// the same function for two options that are equal.
func (o *lm75Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	driver := func(p *i2c.Part) thermometer { return lm75{p, o.Bits} }
	options := o.thermometerOptions
	options.driver = &driver
	return options.Open(ctx, h)
}

// Check cannot say whether the part has a choice of resolution: it has no id, and
// [checkLM75] sees it once it is open.
func (o *lm75Options) Check() []Problem {
	problems := o.onI2C.Check()
	if o.Bits != 0 && (o.Bits < 9 || o.Bits > 12) {
		problems = append(problems, problem("bits", "%d is not 9, 10, 11 or 12; leave it out for an LM75", o.Bits))
	}
	return problems
}

// lm75 is such a part: ±2 °C, steps of 0.0625 to 0.5 °C.
type lm75 struct {
	*i2c.Part
	bits uint8 // 0: what the part has
}

// start writes the settings and waits out a measurement with the former ones.
func (s lm75) start() error {
	if err := s.Command(lm75Config, s.settings()); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.Pause(s.settlingTime())
}

// settings are: awake, and the resolution where the part has a choice.
func (s lm75) settings() byte {
	return lm75Queue | (max(s.bits, 9)-9)<<5
}

// settlingTime is the longest that a measurement takes: 300 ms (LM75), or 150 ms with
// 9 bits and twice that with each more (DS75); one may be under way.
func (s lm75) settlingTime() time.Duration {
	return 2 * max(300*time.Millisecond, 150*time.Millisecond<<(max(s.bits, 9)-9))
}

// check makes sure that the part has its settings and looks like an LM75, which
// has no id: its alarm limits are temperatures, and the upper is above the lower
// (80 and 75 °C, unless somebody has set them).
func (s lm75) check() error {
	var config [1]byte
	if err := s.ReadRegister(lm75Config, config[:]); err != nil {
		return err
	}
	low, err := s.ReadWord(lm75Hyst)
	if err != nil {
		return err
	}
	high, err := s.ReadWord(lm75Over)
	if err != nil {
		return err
	}
	return checkLM75(s.settings(), config[0], int16(low), int16(high))
}

// checkLM75 is [lm75.check] for registers that were read.
func checkLM75(settings, config byte, low, high int16) error {
	const coldest, hottest = -55 << 8, 0x7ff0 // 127.9375 °C: who wants no alarm sets the limit as high as it goes
	switch {
	case low < coldest || high > hottest || low >= high:
		return fmt.Errorf("this is not an LM75: its alarm limits are 0x%04x and 0x%04x", uint16(low), uint16(high))
	case config == settings&^0x60 && config != settings:
		return errors.New("this part has no choice of resolution: leave out bits")
	case config != settings:
		return fmt.Errorf("settings read 0x%02x, not 0x%02x (is it an LM75? has its power dipped?)", config, settings)
	}
	return nil
}

// celsius takes as many of the upper bits as any part means, of 1/256 °C; the
// others are undefined. An LM75 has 9, an LM75B 11.
func (s lm75) celsius(raw uint16) (float64, error) {
	if raw == 0xffff {
		return 0, errors.New("reads only 0xff (is it still wired?)")
	}
	bits := s.bits
	if bits == 0 {
		bits = 11
	}
	// shifted there and back: undefined bits become zero, and the sign stays
	t := int16(raw) >> (16 - bits) << (16 - bits)
	return float64(t) / 256, nil
}
