package drivers

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// A thermometer is the driver of a part that measures temperature continuously into a register
// of 16 bits. Its methods are called within [i2c.Part.Measure].
type thermometer interface {
	// start checks that the part answers, writes its settings and waits for the first
	// measurement with them.
	start() error
	// check returns an error if the part has lost its settings.
	check() error
	// celsius converts the value of the register to °C.
	celsius(raw uint16) (float64, error)
}

// thermometerOptions are the options of a kind that is a thermometer.
type thermometerOptions struct {
	onI2C
	// A pointer to a package variable: a reload compares options with reflect.DeepEqual, for
	// which two functions always differ.
	driver   *func(*i2c.Part) thermometer
	register byte   // of the temperature
	celsius  limits // the range of the part
}

// Pace is half a minute: the parts measure several times a second, but the temperature of air
// and water changes slowly.
func (o *thermometerOptions) Pace() time.Duration { return 30 * time.Second }

func (o *thermometerOptions) Quantities() []sensors.Quantity {
	return []sensors.Quantity{temperature}
}

// Open opens the part and starts it.
func (o *thermometerOptions) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &thermometerSensor{p, (*o.driver)(p), o.register, o.celsius}
	if err := p.Measure(ctx, s.dev.start); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// thermometerSensor is one open part.
type thermometerSensor struct {
	*i2c.Part
	dev     thermometer
	temp    byte
	celsius limits
}

// Next reads the latest temperature in °C. It then checks the settings: if the part has lost
// them, the value is not a temperature.
func (s *thermometerSensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var raw uint16
	err := s.Measure(ctx, func() (err error) {
		if raw, err = s.ReadWord(s.temp); err != nil {
			return err
		}
		// After the value: if the settings are right now, they were right at the measurement.
		return s.dev.check()
	})
	if err != nil {
		return nil, err
	}
	celsius, err := s.dev.celsius(raw)
	if err != nil {
		return nil, s.Explain(err)
	}
	return samples(s.Part, measured{temperature, celsius, s.celsius})
}
