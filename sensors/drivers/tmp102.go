package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
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

// tmp102Options are the options of kind tmp102, TI's thermometers TMP102 and
// TMP112 on I2C.
type tmp102Options struct{ onI2C }

// The pin ADD0 to ground is 0x48, to V+ 0x49, to SDA 0x4a, to SCL 0x4b.
func newTMP102() Options {
	return &tmp102Options{newOnI2C("a TMP102", 0x48, 0x49, 0x4a, 0x4b)}
}

func (o *tmp102Options) Pace() time.Duration { return 30 * time.Second }

func (o *tmp102Options) Quantities() []sensors.Quantity { return []sensors.Quantity{temperature} }

// Open writes the settings and waits for the first measurement.
func (o *tmp102Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := h.openPart(o.I2C, o.Address)
	if err != nil {
		return nil, err
	}
	s := &tmp102Sensor{p}
	err = p.measure(ctx, func() error {
		if err := p.setWord(tmp102Config, tmp102Settings); err != nil {
			return err
		}
		if err := s.check(); err != nil {
			return err
		}
		return p.pause(300 * time.Millisecond) // a turn of 250 ms and a measurement of at most 35 ms
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

type tmp102Sensor struct{ *part }

// Next reads the temperature in °C (±0.5 °C from -25 to 85 °C, steps of
// 0.0625 °C), at most 300 ms old.
func (s *tmp102Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var raw uint16
	err := s.measure(ctx, func() (err error) {
		if raw, err = s.word(tmp102Temp); err != nil {
			return err
		}
		return s.check()
	})
	if err != nil {
		return nil, err
	}
	return s.samples(measured{temperature, tmp102Decode(raw), limits{-55, 125}})
}

// check makes sure that the part is one and has its settings: it has no id, and
// the two bits R always read 1.
func (s *tmp102Sensor) check() error {
	config, err := s.word(tmp102Config)
	if err == nil && config&^tmp102Own != tmp102Settings {
		err = fmt.Errorf("settings read 0x%04x, not 0x%04x (is it a TMP102? has its power dipped?)", config&^tmp102Own, tmp102Settings)
	}
	return err
}

// tmp102Decode is the temperature in °C: the upper 12 bits, of 0.0625 °C each
// (6.5.2).
func tmp102Decode(raw uint16) float64 { return float64(int16(raw)>>4) / 16 }
