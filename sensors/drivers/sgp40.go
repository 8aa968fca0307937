package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// sgpCRC is the initial value of the checksums of Sensirion's gas sensors (SGP40 datasheet 1.1,
// 4.6; SGP30 datasheet 0.92, 6.6).
const sgpCRC = 0xff

// vocRaw is the part's own signal, a whole number without a unit that falls as volatile
// organic compounds rise: it is proportional to the logarithm of the resistance. The VOC index
// from 1 to 500, which Sensirion's library computes from it, is not implemented.
var vocRaw = sensors.Quantity{Name: "voc_raw"}

// sgp40Options are the options of kind sgp40, Sensirion's gas sensor on I2C. The driver
// follows the datasheet; it was not tested with a real part.
type sgp40Options struct{ onI2C }

// The address is fixed.
func newSGP40() Options { return &sgp40Options{newOnI2C("an SGP40", 0x59)} }

// Pace can be any: only the VOC index would need a value each second.
func (o *sgp40Options) Pace() time.Duration { return 30 * time.Second }

func (o *sgp40Options) Quantities() []sensors.Quantity { return []sensors.Quantity{vocRaw} }

// Open runs the self-test, which takes a third of a second.
func (o *sgp40Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &sgp40Sensor{p}
	if err := p.Measure(ctx, s.start); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// sgp40Sensor is one open part. It heats itself with 3 mA from its first
// measurement on, even after Close, because it would need a minute to warm up again.
type sgp40Sensor struct{ *i2c.Part }

// start reads the serial number, whose checksums show that it is a Sensirion part, and runs the
// self-test (4.3, tables 11 and 14). The lower byte of the result has no meaning.
func (s *sgp40Sensor) start() error {
	if _, err := s.Query(time.Millisecond, sgpCRC, 3, 0x36, 0x82); err != nil {
		return err
	}
	result, err := s.Query(320*time.Millisecond, sgpCRC, 1, 0x28, 0x0e)
	if err != nil {
		return err
	}
	if result[0]>>8 != 0xd4 {
		return fmt.Errorf("its self-test fails (0x%04x): replace it", result[0])
	}
	return nil
}

// sgp40Measure is measure_raw_signal without compensation for the air's humidity: with the
// default values for it, 50 % and 25 °C, and their checksums (table 9).
var sgp40Measure = []byte{0x26, 0x0f, 0x80, 0x00, 0xa2, 0x66, 0x66, 0x93}

// Next measures once, in 30 ms. The values of the first minute after power-on are not useful,
// because the part warms up.
func (s *sgp40Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var words []uint16
	err := s.Measure(ctx, func() (err error) {
		words, err = s.Query(30*time.Millisecond, sgpCRC, 1, sgp40Measure...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return samples(s.Part, measured{vocRaw, float64(words[0]), limits{1, 65534}})
}
