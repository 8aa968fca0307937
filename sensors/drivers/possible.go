package drivers

import (
	"fmt"
	"math"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Relative humidity is taken for 0 or 100 % if it is beyond by no more than this,
// the error of the parts: their formulas may go past the ends (Si7021 5.1.1).
const humiditySlack = 5

// physical are the values that a quantity can have at all, whatever part
// measures it: what a driver of the kernel makes of a dead bus is often beyond.
// Pressure may be a difference of two, and so negative.
var physical = map[string]limits{
	"temperature":    {-273.15, math.Inf(1)},
	"humidity":       {-humiditySlack, 100 + humiditySlack},
	"illuminance":    {0, math.Inf(1)},
	"carbon_dioxide": {0, 1e6},
	"concentration":  {0, 100},
	"resistance":     {0, math.Inf(1)},
	"speed":          {0, math.Inf(1)},
}

// possible returns a value that the kernel measured, if it can be true.
func possible(input string, q sensors.Quantity, x float64) (float64, error) {
	l, ok := physical[q.Name]
	if ok && !(x >= l.min && x <= l.max) { // nor NaN
		return 0, fmt.Errorf("%s: %v %s is not possible (%v to %v)", input, x, q.Unit, l.min, l.max)
	}
	if q.Name == humidity.Name {
		x = max(0, min(x, 100))
	}
	return x, nil
}
