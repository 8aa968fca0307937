package drivers

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// bmp280Options are the options of kind bmp280, Bosch's thermometer and
// barometer on I2C: a BME280 without the humidity.
type bmp280Options struct{ onI2C }

// The pin SDO low is 0x76, high 0x77.
func newBMP280() Options { return &bmp280Options{newOnI2C("a BMP280", 0x76, 0x77)} }

// Pace is the same as for a BME280, which measures in the same way.
func (o *bmp280Options) Pace() time.Duration { return 30 * time.Second }

// Quantities returns those of a BME280 without the humidity.
func (o *bmp280Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{temperature, pressure}
}

// Open checks that the part is a BMP280, resets it and reads its calibration.
func (o *bmp280Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := openBMX280(ctx, h, &o.onI2C, "bmp280")
	if err != nil {
		return nil, err
	}
	return &bmp280Sensor{p}, nil
}

// bmp280Sensor is one open part.
type bmp280Sensor struct{ *bmx280 }

// Next measures once, in about 12 ms: temperature in °C (±1 °C) and pressure in
// hPa (±1 hPa; datasheet 1, table 2).
func (s *bmp280Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	c, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	return samples(s.Part,
		measured{temperature, c.temperature, limits{-40, 85}},
		measured{pressure, c.pressure, limits{300, 1100}})
}
