package kernel

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Gather reads each quantity once. It returns an error only if all of them fail: then the device
// was removed, or has come back under another number.
func Gather(ctx context.Context, quantities []sensors.Quantity,
	read func(i int) (float64, error)) ([]sensors.Sample, error) {
	samples := make([]sensors.Sample, len(quantities))
	var first error
	failed := 0
	for i, q := range quantities {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		value, err := read(i)
		samples[i] = sensors.Sample{Quantity: q.Name, Value: value, Err: err}
		if err != nil {
			failed++
			first = cmp.Or(first, err)
		}
	}
	if failed == len(quantities) {
		return nil, first
	}
	return samples, nil
}

// Thousandths parses an integer in thousandths, as the kernel writes m°C, milli-percent and mV.
func Thousandths(text string) (float64, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a number", text)
	}
	return float64(n) / 1000, nil
}

// decimalForm allows neither an exponent nor NaN, unlike ParseFloat: no driver writes them, and a
// value of 18 digits is always finite.
var decimalForm = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?$`)

// Decimal parses a decimal number as the kernel writes it: -12.345000000.
func Decimal(text string) (float64, error) {
	if !decimalForm.MatchString(text) {
		return 0, fmt.Errorf("%.40q is not a number", text)
	}
	return strconv.ParseFloat(text, 64)
}

// A relative humidity out of range by at most this, in %, counts as 0 or 100 %: because of the
// error of a part its formula can give such values (Si7021 5.1.1).
const humiditySlack = 5

// physical are the physically possible ranges of quantities, for any part: the values that a
// driver of the kernel computes from a dead bus are often out of range. Pressure has no range,
// because it may be a difference.
var physical = map[string]struct{ min, max float64 }{
	"temperature":    {-273.15, math.Inf(1)},
	"humidity":       {-humiditySlack, 100 + humiditySlack},
	"illuminance":    {0, math.Inf(1)},
	"carbon_dioxide": {0, 1e6},
	"concentration":  {0, 100},
	"resistance":     {0, math.Inf(1)},
	"speed":          {0, math.Inf(1)},
}

// Possible returns a value of the kernel if it is physically possible, or an error that names the
// input.
func Possible(input string, q sensors.Quantity, x float64) (float64, error) {
	l, ok := physical[q.Name]
	if ok && !(x >= l.min && x <= l.max) { // nor NaN
		return 0, fmt.Errorf("%s: %v %s is not possible (%v to %v)", input, x, q.Unit, l.min, l.max)
	}
	if q.Name == "humidity" { // see humiditySlack
		x = max(0, min(x, 100))
	}
	return x, nil
}
