package drivers

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/holdfast-iot/holdfast/sensors"
)

// gather reads each quantity once. It fails as a whole only when all of them do:
// then the device has gone, or has come back under another number.
func gather(ctx context.Context, quantities []sensors.Quantity, read func(i int) (float64, error)) ([]sensors.Sample, error) {
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

// thousandths is what the kernel counts in thousandths: m°C, milli-percent,
// millivolts.
func thousandths(text string) (float64, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no number", text)
	}
	return float64(n) / 1000, nil
}

var decimalForm = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?$`)

// decimal is a number as the kernel writes it: -12.345000000.
func decimal(text string) (float64, error) {
	if !decimalForm.MatchString(text) {
		return 0, fmt.Errorf("%.40q is no number", text)
	}
	return strconv.ParseFloat(text, 64)
}
