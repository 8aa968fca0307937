package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// sht3xOptions are the options of kind sht3x, Sensirion's SHT30, SHT31 and SHT35 on I2C: those
// of a hygrometer, and the heater.
type sht3xOptions struct {
	hygrometerOptions
	// dries the part by heating it for 5s after a reading of 95 % or more, at most that often:
	// 10m or more; readings within a minute after it are left out. Without it, the part is
	// never heated
	Heater time.Duration `yaml:"heater"`
}

// The pin ADDR low is 0x44, high 0x45.
func newSHT3x() Options {
	return &sht3xOptions{hygrometerOptions: hygrometerOptions{
		onI2C:   newOnI2C("an SHT3x", 0x44, 0x45),
		driver:  &driveSHT3x,
		celsius: limits{-40, 125},
	}}
}

// minHeater is the shortest time between two uses of the heater, so that the part is cool for
// most of the time.
const minHeater = 10 * time.Minute

// Check also checks the interval of the heater.
func (o *sht3xOptions) Check() []Problem {
	problems := o.hygrometerOptions.Check()
	if o.Heater != 0 && o.Heater < minHeater {
		problems = append(problems, problem("heater", "%v is shorter than %v: the part would hardly cool",
			o.Heater, minHeater))
	}
	return problems
}

// Open opens the part and starts it. This also switches off a heater that was left on.
func (o *sht3xOptions) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	s, err := o.hygrometerOptions.Open(ctx, h)
	if err != nil || o.Heater == 0 {
		return s, err
	}
	return &sht3xHeated{hygrometerSensor: s.(*hygrometerSensor), every: o.Heater}, nil
}

// sht3xHeated is one open part that is heated when it is wet. The heater warms it by a few
// degrees (4.10): enough to dry a film of dew, but not a wet filter. It was not tested with a
// real part.
type sht3xHeated struct {
	*hygrometerSensor
	every  time.Duration
	heated time.Time // when the heater was last switched off; zero: never
}

const (
	sht3xWet     = 95              // relative humidity in % from which on the part is heated
	sht3xHeats   = 5 * time.Second // must be shorter than a sampler waits for a measurement
	sht3xCooling = time.Minute     // until the part has the temperature of the air again
)

// Next measures once, and then heats the part if it is wet. It returns no samples while the
// part cools.
func (s *sht3xHeated) Next(ctx context.Context) ([]sensors.Sample, error) {
	if !s.heated.IsZero() && time.Since(s.heated) < sht3xCooling {
		return nil, nil
	}
	samples, err := s.hygrometerSensor.Next(ctx)
	if err != nil || samples[0].Value < sht3xWet || !s.heated.IsZero() && time.Since(s.heated) < s.every {
		return samples, err
	}
	measured := time.Now()
	err = s.heat(ctx)
	for i := range samples {
		samples[i].Ago = time.Since(measured)
	}
	return samples, err
}

// heat switches the heater on for sht3xHeats. It switches it off even if ctx ends or a transfer
// fails. If that fails, too, the reset when the part is opened again switches it off.
func (s *sht3xHeated) heat(ctx context.Context) error {
	err := s.Measure(ctx, func() error {
		if err := s.Command(0x30, 0x6d); err != nil {
			return err
		}
		return s.Pause(sht3xHeats)
	})
	off, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	s.heated = time.Now()
	return errors.Join(err, s.Measure(off, func() error { return s.Command(0x30, 0x66) }))
}

var driveSHT3x = func(p *i2c.Part) hygrometer { return sht3x{p, 16 * time.Millisecond} } // table 4: 15.5 ms

// sht3x is Sensirion's SHT30, SHT31 or SHT35.
type sht3x struct {
	*i2c.Part
	longest time.Duration // the longest duration of a measurement
}

const sht3xCRC = 0xff // initial value of the checksum (4.12)

// start ends a periodic measurement that another program may have left running, because the
// part ignores a reset during it, and then resets the part (4.8, 4.9).
func (s sht3x) start() error {
	s.TryCommand(0x30, 0x93) // an idle part may not acknowledge it
	if err := s.Pause(s.longest); err != nil {
		return err
	}
	if err := s.Command(0x30, 0xa2); err != nil {
		return err
	}
	status, err := s.Query(10*time.Millisecond, sht3xCRC, 1, 0xf3, 0x2d)
	if err != nil {
		return err
	}
	// bit 13: the heater is on (status register)
	if status[0]&0x2000 != 0 {
		return fmt.Errorf("heats itself in spite of a reset (status 0x%04x)", status[0])
	}
	return nil
}

// read measures once, with high repeatability and without clock stretching (4.3): humidity in %
// (SHT30 ±2 %, SHT35 ±1.5 %, table 1), temperature in °C (±0.2 °C, table 2).
func (s sht3x) read() (rh, celsius float64, err error) {
	w, err := s.Query(s.longest, sht3xCRC, 2, 0x24, 0x00)
	if err != nil {
		return 0, 0, err
	}
	rh, celsius = sht3xClimate(w[0], w[1])
	return rh, celsius, nil
}

// sht3xClimate converts raw values to % and °C (4.13).
func sht3xClimate(t, h uint16) (rh, celsius float64) {
	return float64(h) / 65535 * 100, float64(t)/65535*175 - 45
}
