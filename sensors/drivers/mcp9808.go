package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Registers of the MCP9808 (datasheet DS25095, 5.1).
const (
	mcp9808Config     = 1
	mcp9808Temp       = 5
	mcp9808Maker      = 6 // 0x0054
	mcp9808Device     = 7 // 0x04 and the revision
	mcp9808Resolution = 8 // of 8 bits
)

// mcp9808Settings are: measuring by itself, alarm output off. The hysteresis of
// the output, which then means nothing, is not what power-up makes it, so that a
// dip of the part's power shows: until it has measured again, it reads 0 °C.
const mcp9808Settings = 0x0200

// mcp9808Options are the options of kind mcp9808, Microchip's thermometer on
// I2C.
type mcp9808Options struct{ onI2C }

// The pins A0 to A2 are the lowest bits.
func newMCP9808() Options {
	return &mcp9808Options{newOnI2C("an MCP9808", 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f)}
}

func (o *mcp9808Options) Pace() time.Duration { return 30 * time.Second }

func (o *mcp9808Options) Quantities() []sensors.Quantity { return []sensors.Quantity{temperature} }

// Open makes sure that the part is an MCP9808, writes the settings and the
// finest resolution, and waits for the first measurement.
func (o *mcp9808Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := h.openPart(o.I2C, o.Address)
	if err != nil {
		return nil, err
	}
	s := &mcp9808Sensor{p}
	err = p.measure(ctx, s.start)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

type mcp9808Sensor struct{ *part }

func (s *mcp9808Sensor) start() error {
	maker, err := s.word(mcp9808Maker)
	if err != nil {
		return err
	}
	device, err := s.word(mcp9808Device)
	if err != nil {
		return err
	}
	if maker != 0x0054 || device>>8 != 0x04 {
		return fmt.Errorf("this is no MCP9808: its ids are 0x%04x 0x%04x, not 0x0054 and 0x04 of any revision", maker, device)
	}
	return s.set()
}

func (s *mcp9808Sensor) set() error {
	if err := s.setWord(mcp9808Config, mcp9808Settings); err != nil {
		return err
	}
	if err := s.command(mcp9808Resolution, 3); err != nil { // 0.0625 °C, 250 ms
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.pause(500 * time.Millisecond) // a measurement may be under way
}

// Next reads the temperature in °C (±0.5 °C from -20 to 100 °C, steps of
// 0.0625 °C), at most 250 ms old.
func (s *mcp9808Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var raw uint16
	err := s.measure(ctx, func() (err error) {
		if raw, err = s.word(mcp9808Temp); err != nil {
			return err
		}
		return s.check()
	})
	if err != nil {
		return nil, err
	}
	return s.samples(measured{temperature, mcp9808Decode(raw), limits{-40, 125}})
}

// check makes sure that the part has its settings.
func (s *mcp9808Sensor) check() error {
	config, err := s.word(mcp9808Config)
	if err == nil && config != mcp9808Settings {
		err = fmt.Errorf("settings read 0x%04x, not 0x%04x (has its power dipped, or are its limits locked until it is switched off and on?)", config, mcp9808Settings)
	}
	return err
}

// mcp9808Decode is the temperature in °C: the lower 13 bits, of 0.0625 °C each,
// the first of them the sign; the upper three compare with the alarm limits
// (5.1.3).
func mcp9808Decode(raw uint16) float64 { return float64(int16(raw<<3)>>3) / 16 }
