package drivers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// The part computes both from the hydrogen and ethanol that it measures. The carbon dioxide is
// an estimate that assumes people as the source, not a measurement.
var (
	equivalentCO2 = sensors.Quantity{Name: "equivalent_co2", Unit: "ppm", Class: driver.CarbonDioxide.Class}
	totalVOC      = sensors.Quantity{Name: "tvoc", Unit: "ppb", Class: "volatile_organic_compounds_parts"}
)

// sgp30Options are the options of kind sgp30, Sensirion's gas sensor on I2C. The driver
// follows the datasheet; it was not tested with a real part.
type sgp30Options struct{ onI2C }

// The address is fixed.
func newSGP30() Options { return &sgp30Options{newOnI2C("an SGP30", 0x58)} }

// Pace is one second, which the part needs: it adapts its baseline with each measurement (6.3).
// `average: 60` with `every: 1m` makes one reading of sixty measurements.
func (o *sgp30Options) Pace() time.Duration { return time.Second }

func (o *sgp30Options) Quantities() []sensors.Quantity {
	return []sensors.Quantity{equivalentCO2, totalVOC}
}

// Open checks that the part is an SGP30 and starts its measurements. This resets the baseline,
// which the part learns within 12 hours.
func (o *sgp30Options) Open(ctx context.Context, h *Hardware) (sensors.Sensor, error) {
	p, err := o.openPart(h)
	if err != nil {
		return nil, err
	}
	s := &sgp30Sensor{Part: p}
	if err := p.Measure(ctx, s.start); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	s.started = time.Now()
	return s, nil
}

// sgp30Sensor is one open part.
type sgp30Sensor struct {
	*i2c.Part
	started time.Time
}

// sgp30WarmUp is how long the part sends the fixed values 400 ppm and 0 ppb (6.3).
const sgp30WarmUp = 15 * time.Second

// start reads the serial number and the feature set, and starts the measurements (table 10).
// The upper four bits of the feature set are 0 for an SGP30, and 1 for an SGPC3, which has the
// same address but other commands (6.4, 6.5).
func (s *sgp30Sensor) start() error {
	if _, err := s.Query(time.Millisecond, sgpCRC, 3, 0x36, 0x82); err != nil {
		return err
	}
	features, err := s.Query(10*time.Millisecond, sgpCRC, 1, 0x20, 0x2f)
	if err != nil {
		return err
	}
	if features[0]>>12 != 0 {
		return fmt.Errorf("this is not an SGP30: its feature set is 0x%04x", features[0])
	}
	if err := s.Command(0x20, 0x03); err != nil { // sgp30_iaq_init
		return err
	}
	return s.Pause(10 * time.Millisecond)
}

// Next measures once, in 12 ms. It returns no samples during warm-up, but the part needs the
// measurements.
func (s *sgp30Sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var words []uint16
	err := s.Measure(ctx, func() (err error) {
		words, err = s.Query(12*time.Millisecond, sgpCRC, 2, 0x20, 0x08) // sgp30_measure_iaq
		return err
	})
	if err != nil || time.Since(s.started) < sgp30WarmUp {
		return nil, err
	}
	return samples(s.Part,
		measured{equivalentCO2, float64(words[0]), limits{400, 60000}},
		measured{totalVOC, float64(words[1]), limits{0, 60000}})
}
