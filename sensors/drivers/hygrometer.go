package drivers

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// A hygrometer is the driver of a part that measures humidity and temperature. Its methods are
// called within [i2c.Part.Measure].
type hygrometer interface {
	// start checks that the part answers, and brings it from any state into the one that
	// read expects.
	start() error
	// read measures once: humidity in %, temperature in °C.
	read() (rh, celsius float64, err error)
}

// hygrometerOptions are the options of a kind that is a hygrometer.
type hygrometerOptions struct {
	onI2C
	// A pointer to a package variable: a reload compares options with reflect.DeepEqual, for
	// which two functions always differ.
	driver  *func(*i2c.Part) hygrometer
	celsius limits // the range of the part
}

// Pace is half a minute: a part that measures ten times a second heats itself, and then reads
// too low a humidity.
func (o *hygrometerOptions) Pace() time.Duration { return 30 * time.Second }

// Quantities returns both, which come from one measurement.
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
