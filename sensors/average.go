package sensors

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window makes one value of the samples of a span of time: their mean or median, without
// those that failed. The spans follow one another without holes from the first
// sample on, so that samples which come late or again do not move the readings.
type window struct {
	samples int           // in a span; below 2 each one is a value
	span    time.Duration // between two readings
	median  bool          // or the mean

	end    time.Time // a sample from here on is the last of its span
	values []float64 // of the span's good samples
	err    error     // of the last one that failed
}

// An average is the mean or the median of samples. One sample is its own mean: nothing is
// rounded then.
type average struct {
	value   float64 // what alarm and report compare with their limits
	rounded float64 // to the decimal places of the samples and one more: what is published
}

// add takes a sample or the reason why there is none. When it is the last of its
// span it returns their value, or an error if all have failed.
func (m *window) add(v float64, err error, at time.Time) (got average, failed error, done bool) {
	if err == nil {
		m.values = append(m.values, v)
	} else {
		m.err = err
	}
	if m.samples < 2 {
		return m.close()
	}
	step := m.span / time.Duration(m.samples)
	if m.end.IsZero() {
		m.end = at.Add(m.span - step - step/2) // half a step before the last one is due: it may be early
	}
	if at.Before(m.end) {
		return average{}, nil, false
	}
	m.end = m.end.Add((at.Sub(m.end)/m.span + 1) * m.span)
	return m.close()
}

// close ends the samples of one reading and begins the next ones.
func (m *window) close() (got average, failed error, done bool) {
	if len(m.values) == 0 {
		failed = m.err
	} else if m.median {
		got = medianOf(m.values)
	} else {
		got = averageOf(m.values)
	}
	m.values, m.err = m.values[:0], nil
	return got, failed, true
}

// roundedTo is what is published with so many decimal places at most. It rounds the value
// itself: to round twice would make 0.5 of 0.449.
func (a average) roundedTo(places int) float64 {
	if text := strconv.FormatFloat(a.rounded, 'f', -1, 64); placesOf(text) <= places {
		return a.rounded
	}
	return round(a.value, places)
}

// medianOf is the middle one of at least one value, or the mean of the two in the middle.
// It sorts them.
func medianOf(values []float64) average {
	slices.Sort(values)
	n := len(values)
	return averageOf(values[(n-1)/2 : n/2+1])
}

// averageOf is the mean of at least one value. It computes with the decimal
// fractions that the samples are: the mean of 20.2 and 20.4 is 20.3 and not
// above a limit of 20.3, and two samples of 1.7e308 have a mean, too.
func averageOf(values []float64) average {
	if len(values) == 1 {
		return average{values[0], values[0]}
	}
	texts, places := make([]string, len(values)), 0
	for i, v := range values {
		texts[i] = strconv.FormatFloat(v, 'f', -1, 64)
		places = max(places, placesOf(texts[i]))
	}
	const more = 30 // decimal places of the quotient that the samples do not have: a float64 holds 17 digits
	sum := new(big.Int)
	for _, text := range texts {
		zeros := strings.Repeat("0", places-placesOf(text))
		x, _ := new(big.Int).SetString(strings.Replace(text, ".", "", 1)+zeros, 10)
		sum.Add(sum, x)
	}
	sum.Mul(sum, new(big.Int).Exp(big.NewInt(10), big.NewInt(more), nil))
	sum.Quo(sum, big.NewInt(int64(len(values))))
	value, _ := strconv.ParseFloat(fmt.Sprintf("%de-%d", sum, places+more), 64) // what was just formatted parses
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(value, 'f', places+1, 64), 64)
	return average{value, rounded}
}

// placesOf is how many digits a decimal fraction has behind its point.
func placesOf(text string) int {
	_, fraction, _ := strings.Cut(text, ".")
	return len(fraction)
}
