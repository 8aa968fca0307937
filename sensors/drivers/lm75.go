package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
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
// power shows: until it has measured again, what it reads is no temperature.
const lm75Queue = 0x08

// lm75Options are the options of kind lm75: National's thermometer on I2C and
// its compatibles, LM75A, LM75B, DS75, TMP75, ADT75, MCP9800, STDS75.
type lm75Options struct {
	onI2C
	Bits uint8 `yaml:"bits" doc:"9 to 12, of a DS75, TMP75, MCP9800 or STDS75; an LM75 has no choice: leave it out"`
}

// The pins A0 to A2 are the lowest bits.
func newLM75() Options {
	return &lm75Options{onI2C: newOnI2C("an LM75", 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f)}
}

func (o *lm75Options) Check() []Problem {
	problems := o.onI2C.Check()
	if o.Bits != 0 && (o.Bits < 9 || o.Bits > 12) {
		problems = append(problems, problem("bits", "%d is not 9, 10, 11 or 12; leave it out for an LM75", o.Bits))
	}
	return problems
}

func (o *lm75Options) Pace() time.Duration { return 30 * time.Second }

func (o *lm75Options) Quantities() []sensors.Quantity { return []sensors.Quantity{temperature} }

// Open writes the settings and waits for the first measurement.
func (o *lm75Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := h.openPart(o.I2C, o.Address)
	if err != nil {
		return nil, err
	}
	s := &lm75Sensor{part: p, bits: o.Bits}
	err = p.measure(ctx, func() error {
		if err := p.command(lm75Config, s.settings()); err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		return p.pause(s.first())
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

type lm75Sensor struct {
	*part
	bits uint8 // 0: what the part has
}

// settings are: awake, and the resolution where the part has a choice.
func (s *lm75Sensor) settings() byte {
	return lm75Queue | (max(s.bits, 9)-9)<<5
}

// first is the longest that a measurement takes: 300 ms (LM75), or 150 ms with
// 9 bits and twice that with each more (DS75); one may be under way.
func (s *lm75Sensor) first() time.Duration {
	return 2 * max(300*time.Millisecond, 150*time.Millisecond<<(max(s.bits, 9)-9))
}

// Next reads the temperature in °C (±2 °C, steps of 0.0625 to 0.5 °C), which the
// part measures by itself.
func (s *lm75Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var raw uint16
	err := s.measure(ctx, func() (err error) {
		if raw, err = s.word(lm75Temp); err != nil {
			return err
		}
		return s.check()
	})
	if err != nil {
		return nil, err
	}
	if raw == 0xffff {
		return nil, s.explain(errors.New("reads only 0xff (is it still wired?)"))
	}
	return s.samples(measured{temperature, lm75Decode(raw, s.bits), limits{-55, 125}})
}

// check makes sure that the part has its settings and looks like an LM75, which
// has no id: its alarm limits are temperatures, and the upper is above the lower
// (80 and 75 °C, unless somebody has set them).
func (s *lm75Sensor) check() error {
	var config [1]byte
	if err := s.register(lm75Config, config[:]); err != nil {
		return err
	}
	low, err := s.word(lm75Hyst)
	if err != nil {
		return err
	}
	high, err := s.word(lm75Over)
	if err != nil {
		return err
	}
	return lm75Alike(s.settings(), config[0], int16(low), int16(high))
}

func lm75Alike(settings, config byte, low, high int16) error {
	const coldest, hottest = -55 << 8, 125 << 8
	switch {
	case low < coldest || high > hottest || low >= high:
		return fmt.Errorf("this is no LM75: its alarm limits are 0x%04x and 0x%04x", uint16(low), uint16(high))
	case config == settings&^0x60 && config != settings:
		return errors.New("this part has no choice of resolution: leave out bits")
	case config != settings:
		return fmt.Errorf("settings read 0x%02x, not 0x%02x (is it an LM75? has its power dipped?)", config, settings)
	}
	return nil
}

// lm75Decode is the temperature in °C: as many of the upper bits as any part
// means, of 1/256 °C; the others are undefined. An LM75 has 9, an LM75B 11.
func lm75Decode(raw uint16, bits uint8) float64 {
	if bits == 0 {
		bits = 11
	}
	t := int16(raw) >> (16 - bits) << (16 - bits)
	return float64(t) / 256
}
