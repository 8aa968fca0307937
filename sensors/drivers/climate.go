package drivers

import (
	"fmt"

	"periph.io/x/conn/v3/physic"

	"github.com/holdfast-iot/holdfast/sensors"
)

// What the climate parts measure, as Home Assistant names and writes it.
var (
	humidity    = sensors.Quantity{Name: "humidity", Unit: "%", Class: "humidity"}
	temperature = sensors.Quantity{Name: "temperature", Unit: "°C", Class: "temperature"}
	pressure    = sensors.Quantity{Name: "pressure", Unit: "hPa", Class: "pressure"}
)

// limits are the least and the most that a part can measure.
type limits struct{ min, max float64 }

// climate is what a part measures, and between which limits; no limits for a
// quantity that it does not measure.
type climate struct{ humidity, temperature, pressure limits }

// samples makes samples of what periph measured. A value beyond what the part
// can measure fails the whole measurement: then its settings or calibration are
// not what we wrote or read, and it has to be opened again.
func (p *part) samples(env physic.Env, c climate) ([]sensors.Sample, error) {
	var samples []sensors.Sample
	for _, m := range []struct {
		sensors.Quantity
		limits
		value float64
	}{
		{humidity, c.humidity, float64(env.Humidity) / float64(physic.PercentRH)},
		{temperature, c.temperature, env.Temperature.Celsius()},
		{pressure, c.pressure, float64(env.Pressure) / float64(100*physic.Pascal)},
	} {
		if m.limits == (limits{}) {
			continue
		}
		value := hundredths(m.value)
		if value < m.min || value > m.max {
			return nil, p.explain(fmt.Errorf("%s %v %s is beyond what the part can measure (%v to %v)",
				m.Name, value, m.Unit, m.min, m.max))
		}
		samples = append(samples, sensors.Sample{Quantity: m.Name, Value: value})
	}
	return samples, nil
}
