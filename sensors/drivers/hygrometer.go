package drivers

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// A hygrometer is how one kind of part that measures humidity and temperature is
// spoken to. Both methods run within [i2c.Part.Measure].
type hygrometer interface {
	// start makes sure that the part is there and brings it from any state into
	// the one that read expects.
	start() error
	// read measures once: humidity in %, temperature in °C.
	read() (rh, celsius float64, err error)
}

// hygrometerOptions are the options of a kind that is a hygrometer.
type hygrometerOptions struct {
	onI2C
	// A pointer to a variable of the package: a reload compares options, and functions
	// cannot be compared.
	driver  *func(*i2c.Part) hygrometer
	celsius limits // that the part can measure
}

// Pace is half a minute: a part that measures ten times a second warms itself and reads a
// humidity that is too low.
func (o *hygrometerOptions) Pace() time.Duration { return 30 * time.Second }

// Quantities are both, of one measurement.
func (o *hygrometerOptions) Quantities() []sensors.Quantity {
	return []sensors.Quantity{humidity, temperature}
}

// Open opens the part and starts it.
func (o *hygrometerOptions) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &hygrometerSensor{p, (*o.driver)(p), o.celsius}
	if err := p.Measure(ctx, s.dev.start); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// hygrometerSensor is one open part.
type hygrometerSensor struct {
	*i2c.Part
	dev     hygrometer
	celsius limits
}

// Next measures once: humidity in %, temperature in °C.
func (s *hygrometerSensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var rh, celsius float64
	err := s.Measure(ctx, func() (err error) {
		rh, celsius, err = s.dev.read()
		return err
	})
	if err != nil {
		return nil, err
	}
	return samples(s.Part, measured{humidity, rh, limits{0, 100}}, measured{temperature, celsius, s.celsius})
}
