package drivers

import (
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// The quantities of the climate parts.
var humidity, temperature, pressure = driver.Humidity, driver.Temperature, driver.Pressure

// limits are the lowest and the highest value that a part can measure, by its datasheet.
type limits struct{ min, max float64 }

// measured is one value in the unit of its quantity, with the limits of the part.
type measured struct {
	sensors.Quantity
	value float64
	limits
}

// samples returns the values as samples, rounded to 0.01. A value outside its limits is an
// error of the whole measurement: the part then has other settings or another calibration
// than the driver assumes, and has to be opened again.
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
