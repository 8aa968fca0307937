package drivers

import (
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// What the climate parts measure.
var humidity, temperature, pressure = driver.Humidity, driver.Temperature, driver.Pressure

// limits are the least and the most that a part can measure.
type limits struct{ min, max float64 }

// measured is one value in the unit of its quantity, and what the part can measure.
type measured struct {
	sensors.Quantity
	value float64
	limits
}

// samples makes samples of values, rounded to 0.01. A value beyond what the part
// can measure fails the whole measurement: then its settings or calibration are
// not what we wrote or read, and it has to be opened again.
func samples(p *i2c.Part, values ...measured) ([]sensors.Sample, error) {
	var all []sensors.Sample
	for _, m := range values {
		value := host.RoundHundredths(m.value)
		if !(value >= m.min && value <= m.max) { // nor NaN
			return nil, p.Explain(fmt.Errorf("%s %v %s is beyond what the part can measure (%v to %v)",
				m.Name, value, m.Unit, m.min, m.max))
		}
		all = append(all, sensors.Sample{Quantity: m.Name, Value: value})
	}
	return all, nil
}
