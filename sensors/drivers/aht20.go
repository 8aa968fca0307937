package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/aht20"

	"github.com/holdfast-iot/holdfast/sensors"
)

const aht20Address = 0x38 // datasheet AHT20 7.1: the only one

// aht20Options are the options of kind aht20, ASAIR's hygrometer and
// thermometer on I2C.
type aht20Options struct{ onI2C }

func newAHT20() Options { return &aht20Options{newOnI2C("an AHT20", aht20Address)} }

func (o *aht20Options) Pace() time.Duration { return 30 * time.Second }

func (o *aht20Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{humidity, temperature}
}

// Open opens the part and calibrates it where it has not been (5.4, step 1).
func (o *aht20Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := h.openPart(o.I2C, o.Address)
	if err != nil {
		return nil, err
	}
	s := &aht20Sensor{part: p}
	err = p.measure(ctx, func() (err error) {
		s.dev, err = aht20.NewI2C(p, &aht20.DefaultOpts)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

type aht20Sensor struct {
	*part
	dev *aht20.Dev
}

// Next measures once, in 80 to 230 ms: humidity in % (±2 %, table 2) and
// temperature in °C (±0.3 °C, table 3). The part's CRC is checked.
func (s *aht20Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var env physic.Env
	err := s.measure(ctx, func() error { return aht20Fault(s.dev.Sense(&env)) })
	if err != nil {
		return nil, err
	}
	return s.samples(
		measured{humidity, float64(env.Humidity) / float64(physic.PercentRH), limits{0, 100}},
		measured{temperature, env.Temperature.Celsius(), limits{-40, 85}})
}

// aht20Fault puts what periph says of a measurement shortly.
func aht20Fault(err error) error {
	var corrupt *aht20.DataCorruptionError
	var uncalibrated *aht20.NotInitializedError
	var slow *aht20.ReadTimeoutError
	switch {
	case errors.As(err, &corrupt):
		return fmt.Errorf("wrong checksum 0x%02x, want 0x%02x", corrupt.Received, corrupt.Calculated)
	case errors.As(err, &uncalibrated):
		return errors.New("lost its calibration (has its power dipped?)")
	case errors.As(err, &slow):
		return fmt.Errorf("still measuring after %v", slow.Timeout)
	}
	return err
}
