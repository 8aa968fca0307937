package sensors

import (
	"math"
	"strconv"
)

// round rounds to some decimal places, and halves away from zero. It rounds the decimal
// fraction that a person sees: 2.675 is 2.68 in two places, though its binary form is a
// little less. What is no number stays as it is.
func round(v float64, places int) float64 {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if placesOf(text) <= places {
		return v
	}
	// A value with decimal places is far from the end of float64's range: all of this parses.
	digits, _ := strconv.ParseFloat(text+"e"+strconv.Itoa(places), 64)
	text = strconv.FormatFloat(math.Round(digits), 'f', -1, 64)
	rounded, _ := strconv.ParseFloat(text+"e-"+strconv.Itoa(places), 64)
	return rounded + 0 // never -0, which is no value to a person
}
