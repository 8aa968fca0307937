package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the LM75 and its compatibles.
const (
	lm75Temp   = 0
	lm75Config = 1 // of 8 bits
	lm75Hyst   = 2
	lm75Over   = 3
)

// lm75Queue sets the fault queue of the alarm output to two measurements. We do not need the
// output. But the value differs from the one after power-up, so that check detects a power dip:
// after one, the register has no temperature until the next measurement.
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

// Open opens the part and starts it. It sets driver in a copy of the options, because a reload
// compares them, and two functions are never equal.
func (o *lm75Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	driver := func(p *i2c.Part) thermometer { return lm75{p, o.Bits} }
	options := o.thermometerOptions
	options.driver = &driver
	return options.Open(ctx, h)
}

// Check cannot tell whether the part has a choice of resolution: it has no id. [checkLM75]
// finds out when it is open.
func (o *lm75Options) Check() []Problem {
	problems := o.onI2C.Check()
	if o.Bits != 0 && (o.Bits < 9 || o.Bits > 12) {
		problems = append(problems, problem("bits", "%d is not 9, 10, 11 or 12; leave it out for an LM75", o.Bits))
	}
	return problems
}

// lm75 is an LM75 or a compatible part: ±2 °C, steps of 0.0625 to 0.5 °C.
type lm75 struct {
	*i2c.Part
	bits uint8 // 0: the part has no choice
}

// start writes the settings and waits for a measurement with them.
func (s lm75) start() error {
	if err := s.Command(lm75Config, s.settings()); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.Pause(s.settlingTime())
}

// settings returns the value of lm75Config: not shut down, fault queue 2, and the resolution.
func (s lm75) settings() byte {
	return lm75Queue | (max(s.bits, 9)-9)<<5
}

// settlingTime is twice the longest measurement, because one with the old settings may be
// running. A measurement takes up to 300 ms (LM75), or 150 ms with 9 bits and twice as long with
// each further bit (DS75).
func (s lm75) settlingTime() time.Duration {
	return 2 * max(300*time.Millisecond, 150*time.Millisecond<<(max(s.bits, 9)-9))
}

// check checks that the part has its settings and looks like an LM75. It has no id, so check
// looks at its alarm limits: both must be temperatures, the upper above the lower (80 and 75 °C
// after power-up).
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

// checkLM75 does the checks of [lm75.check] on the values of the registers.
func checkLM75(settings, config byte, low, high int16) error {
	// 127.9375 °C: programs switch the alarm off with the highest possible limit.
	const coldest, hottest = -55 << 8, 0x7ff0
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

// celsius uses only the upper bits that the part defines (LM75: 9, LM75B: 11). The word is in
// 1/256 °C.
func (s lm75) celsius(raw uint16) (float64, error) {
	if raw == 0xffff {
		return 0, errors.New("reads only 0xff (is it still wired?)")
	}
	bits := s.bits
	if bits == 0 {
		bits = 11
	}
	// shift right and left: undefined bits become zero, the sign stays
	t := int16(raw) >> (16 - bits) << (16 - bits)
	return float64(t) / 256, nil
}
