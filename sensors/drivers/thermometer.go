package drivers

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// A thermometer is how one kind of part that measures temperature by itself, in a
// register of 16 bits, is spoken to. Its methods run within [i2c.Part.Measure].
type thermometer interface {
	// start makes sure that the part is there, writes its settings and waits for
	// the first measurement with them.
	start() error
	// check makes sure that the part still has its settings.
	check() error
	// celsius is what the register means, in °C.
	celsius(raw uint16) (float64, error)
}

// thermometerOptions are the options of a kind that is a thermometer.
type thermometerOptions struct {
	onI2C
	// A pointer to a variable of the package: a reload compares options, and functions
	// cannot be compared.
	driver   *func(*i2c.Part) thermometer
	register byte   // of the temperature
	celsius  limits // that the part can measure
}

// Pace is half a minute: the parts measure by themselves several times a second, and are
// read that seldom because air and water change slowly.
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

// Next reads the temperature in °C, which the part measures by itself, and then
// whether its settings are what they should be: else it was none.
func (s *thermometerSensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var raw uint16
	err := s.Measure(ctx, func() (err error) {
		if raw, err = s.ReadWord(s.temp); err != nil {
			return err
		}
		// After the value: settings that are right now were right when it was measured.
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
