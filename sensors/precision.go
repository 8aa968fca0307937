package sensors

import (
	"math"
	"strconv"
)

// round rounds v to places decimal places, halves away from zero. It rounds the decimal
// number that a person sees: 2.675 becomes 2.68, although its binary form is a little less.
// NaN and infinities are returned unchanged.
func round(v float64, places int) float64 {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if placesOf(text) <= places {
		return v
	}
	// A float64 with decimal places is less than 1e16: none of these conversions can fail.
	digits, _ := strconv.ParseFloat(text+"e"+strconv.Itoa(places), 64)
	text = strconv.FormatFloat(math.Round(digits), 'f', -1, 64)
	rounded, _ := strconv.ParseFloat(text+"e-"+strconv.Itoa(places), 64)
	return rounded + 0 // turns -0 into 0
}
