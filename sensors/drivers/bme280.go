package drivers

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// bme280Options are the options of kind bme280, Bosch's hygrometer,
// thermometer and barometer on I2C.
type bme280Options struct{ onI2C }

// The pin SDO low is 0x76, high 0x77.
func newBME280() Options { return &bme280Options{newOnI2C("a BME280", 0x76, 0x77)} }

// Pace is half a minute. The datasheet's weather monitoring measures once a minute
// (3.5.1); twice as often still leaves the part at room temperature.
func (o *bme280Options) Pace() time.Duration { return 30 * time.Second }

// Quantities returns all three, which come from one measurement.
func (o *bme280Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{humidity, temperature, pressure}
}

// Open checks that the part is a BME280, resets it and reads its calibration.
func (o *bme280Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := openBMX280(ctx, h, &o.onI2C, "bme280")
	if err != nil {
		return nil, err
	}
	return &bme280Sensor{p}, nil
}

// bme280Sensor is one open part.
type bme280Sensor struct{ *bmx280 }

// Next measures once, in about 12 ms: humidity in % (±3 %), temperature in °C
// (±1 °C), pressure in hPa (±1 hPa; datasheet 1, tables 2 to 4).
func (s *bme280Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	c, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	return samples(s.Part,
		measured{humidity, c.humidity, limits{0, 100}},
		measured{temperature, c.temperature, limits{-40, 85}},
		measured{pressure, c.pressure, limits{300, 1100}})
}
