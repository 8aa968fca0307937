package drivers

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the MCP9808 (datasheet DS25095, 5.1).
const (
	mcp9808Config     = 1
	mcp9808Temp       = 5
	mcp9808Maker      = 6 // 0x0054
	mcp9808Device     = 7 // 0x04 and the revision
	mcp9808Resolution = 8 // of 8 bits
)

// mcp9808Settings are: continuous measurement, alarm output off, and a hysteresis of the output.
// The hysteresis has no effect, but differs from the one after power-up, so that check detects a
// power dip: after one, the part reads 0 °C until the next measurement.
const mcp9808Settings = 0x0200

// The pins A0 to A2 are the lowest bits.
func newMCP9808() Options {
	return &thermometerOptions{
		onI2C:    newOnI2C("an MCP9808", 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f),
		driver:   &driveMCP9808,
		register: mcp9808Temp,
		celsius:  limits{-40, 125},
	}
}

var driveMCP9808 = func(p *i2c.Part) thermometer { return mcp9808{p} }

// mcp9808 is Microchip's MCP9808: ±0.5 °C from -20 to 100 °C, steps of 0.0625 °C,
// at most 250 ms old.
type mcp9808 struct{ *i2c.Part }

// start checks the ids of the part, so that it writes nothing to another one.
func (s mcp9808) start() error {
	maker, err := s.ReadWord(mcp9808Maker)
	if err != nil {
		return err
	}
	device, err := s.ReadWord(mcp9808Device)
	if err != nil {
		return err
	}
	// The low byte of the device id is the revision (DS25095, 5.1.6).
	if maker != 0x0054 || device>>8 != 0x04 {
		return fmt.Errorf("this is not an MCP9808: its ids are 0x%04x 0x%04x, not 0x0054 and 0x04 of any revision",
			maker, device)
	}
	return s.set()
}

// set writes the settings and the finest resolution, and waits for a measurement with them.
func (s mcp9808) set() error {
	if err := s.WriteWord(mcp9808Config, mcp9808Settings); err != nil {
		return err
	}
	if err := s.Command(mcp9808Resolution, 3); err != nil { // 0.0625 °C, 250 ms
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.Pause(500 * time.Millisecond) // the running measurement and the next one
}

// check returns an error if the part has lost its settings.
func (s mcp9808) check() error {
	config, err := s.ReadWord(mcp9808Config)
	if err == nil && config != mcp9808Settings {
		err = fmt.Errorf("settings read 0x%04x, not 0x%04x (has its power dipped, or are its limits locked until it "+
			"is switched off and on?)", config, mcp9808Settings)
	}
	return err
}

// celsius converts the lower 13 bits, signed, in steps of 0.0625 °C. The upper three bits
// compare the temperature with the alarm limits (5.1.3).
func (mcp9808) celsius(raw uint16) (float64, error) { return float64(int16(raw<<3)>>3) / 16, nil }
