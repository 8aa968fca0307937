package drivers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Registers of the VEML7700 (datasheet 84286, table 1), of 16 bits, the low byte first.
const (
	vemlConfig = 0x00
	vemlSaving = 0x03 // power saving
	vemlLight  = 0x04 // ALS
)

// vemlOff is the configuration that shuts the part down: ALS_SD.
const vemlOff = 0x0001

// veml7700Options are the options of kind veml7700, Vishay's light meter on I2C. The driver
// follows the datasheet and the application note 84323; it was not tested with a real part.
type veml7700Options struct{ onI2C }

// The address is fixed.
func newVEML7700() Options { return &veml7700Options{newOnI2C("a VEML7700", 0x10)} }

// Pace is half a minute, as for a BH1750.
func (o *veml7700Options) Pace() time.Duration { return 30 * time.Second }

func (o *veml7700Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{driver.Illuminance}
}

// Open switches power saving off, which would make measurements less frequent.
func (o *veml7700Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &veml7700Sensor{p}
	err = p.Measure(ctx, func() error {
		if err := s.write(vemlConfig, vemlOff); err != nil {
			return err
		}
		return s.write(vemlSaving, 0)
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// A vemlRange is a gain (ALS_GAIN, bits 12 and 11) and an integration time (ALS_IT, bits 9 to
// 6).
type vemlRange struct {
	config uint16
	takes  time.Duration // the integration time
	lux    float64       // per count
	dim    bool          // the gain is 2, at which the part is linear
}

// The three ranges of the driver. At gain 2 and 800 ms a count is 0.0042 lx (84286 revision 1.7
// of November 2023; earlier revisions had 0.0036, which Vishay has corrected).
var (
	vemlMiddle = vemlRange{config: 2 << 11, takes: 100 * time.Millisecond, lux: 0.0042 * 16 * 8}            // gain 1/8
	vemlBright = vemlRange{config: 2<<11 | 12<<6, takes: 25 * time.Millisecond, lux: 0.0042 * 16 * 32}      // gain 1/8
	vemlDim    = vemlRange{config: 1<<11 | 2<<6, takes: 400 * time.Millisecond, lux: 0.0042 * 2, dim: true} // gain 2
)

// A count between these two needs no other range (84323, flow chart).
const vemlFew, vemlMany = 100, 10000

// veml7700Sensor is one open part. It is shut down between measurements.
type veml7700Sensor struct{ *i2c.Part }

// Next measures the illuminance in lx, from 0.0084 to 140,000, in 0.15 s. In dark or bright
// light it measures again in another range, which takes up to 0.6 s.
func (s *veml7700Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var lux float64
	err := s.Measure(ctx, func() (err error) {
		lux, err = s.measure()
		return err
	})
	if err != nil {
		return nil, err
	}
	return []sensors.Sample{{Quantity: driver.Illuminance.Name, Value: lux}}, nil
}

// measure chooses the range by the count in the middle one.
func (s *veml7700Sensor) measure() (lux float64, err error) {
	r := vemlMiddle
	count, err := s.count(r)
	if err == nil && (count < vemlFew || count > vemlMany) {
		r = vemlDim
		if count > vemlMany {
			r = vemlBright
		}
		count, err = s.count(r)
	}
	if err != nil {
		return 0, err
	}
	return r.illuminance(count)
}

// count measures in a range. It also checks the settings: after a power dip the part is shut
// down and does not measure.
func (s *veml7700Sensor) count(r vemlRange) (uint16, error) {
	if err := s.write(vemlConfig, r.config); err != nil {
		return 0, err
	}
	// 2.5 ms to start up, and 1.5 times the integration time, which is not exact.
	if err := s.Pause(5*time.Millisecond + r.takes*3/2); err != nil {
		return 0, err
	}
	count, err := s.read(vemlLight)
	if err != nil {
		return 0, err
	}
	config, err := s.read(vemlConfig)
	if err != nil {
		return 0, err
	}
	if config != r.config {
		return 0, fmt.Errorf("settings read 0x%04x, not 0x%04x (is it a VEML7700? has its power dipped?)",
			config, r.config)
	}
	// Shut down before the next range is set, as 84323 requires.
	return count, s.write(vemlConfig, vemlOff)
}

// maxVEMLLux is the maximum illuminance of the datasheet.
const maxVEMLLux = 140_000

// illuminance converts a count to lx. At gain 1/8 the part is not linear: the polynomial is from
// Vishay (84323, "correction formula").
func (r vemlRange) illuminance(count uint16) (float64, error) {
	x := float64(count) * r.lux
	if r.dim {
		// Perhaps a lamp was switched on between the two measurements.
		if count == 0xffff {
			return 0, fmt.Errorf("the light changed while it was measured (more than %.0f lx)", x)
		}
		return host.RoundToStep(x, r.lux), nil
	}
	lux := x * (1.0023 + x*(8.1488e-5+x*(-9.3924e-9+x*6.0135e-13)))
	if lux > maxVEMLLux || count == 0xffff {
		return 0, fmt.Errorf("it is brighter than the %d lx that the part can measure", maxVEMLLux)
	}
	return host.RoundToStep(lux, r.lux), nil
}

// write writes a register.
func (s *veml7700Sensor) write(reg byte, value uint16) error {
	return s.Command(reg, byte(value), byte(value>>8))
}

// read reads a register.
func (s *veml7700Sensor) read(reg byte) (uint16, error) {
	var r [2]byte
	err := s.ReadRegister(reg, r[:])
	return binary.LittleEndian.Uint16(r[:]), err
}
