package sensors

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window combines the samples of a time span into one value: their mean or median.
// Failed samples are left out. Each span begins where the one before ends, counted from
// the first sample, so that late or repeated samples do not shift the times of the readings.
type window struct {
	samples int           // in a span; below 2 each sample is a value
	span    time.Duration // between two readings
	median  bool          // false: the mean

	end    time.Time // a sample at or after it is the last of its span
	values []float64 // the good samples of the span
	err    error     // of the last failed sample in the span
}

// An average is the mean or the median of samples. The mean of one sample is the sample
// itself, not rounded.
type average struct {
	value   float64 // not rounded: alarm and report compare it with their limits
	rounded float64 // for publishing: one decimal place more than the samples have
}

// add takes a sample, or the error instead of one. If the sample is the last of its span,
// done is true and add returns the span's value, or in failed the error if all samples
// have failed.
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
		m.end = at.Add(m.span - step - step/2) // half a step early: the last sample may come before it is due
	}
	if at.Before(m.end) {
		return average{}, nil, false
	}
	m.end = m.end.Add((at.Sub(m.end)/m.span + 1) * m.span)
	return m.close()
}

// close returns the value of the span and empties the window for the next one.
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

// roundedTo returns the value to publish with at most places decimal places. It rounds the
// exact value: rounding twice would turn 0.449 into 0.5.
func (a average) roundedTo(places int) float64 {
	if text := strconv.FormatFloat(a.rounded, 'f', -1, 64); placesOf(text) <= places {
		return a.rounded
	}
	return round(a.value, places)
}

// medianOf returns the middle one of at least one value, or the mean of the two in the
// middle. It sorts values in place.
func medianOf(values []float64) average {
	slices.Sort(values)
	n := len(values)
	return averageOf(values[(n-1)/2 : n/2+1])
}

// averageOf returns the mean of at least one value. It computes with exact decimal
// fractions: the mean of 20.2 and 20.4 is 20.3, not a little more than a limit of 20.3, and
// the sum of two samples of 1.7e308 does not overflow.
func averageOf(values []float64) average {
	if len(values) == 1 {
		return average{values[0], values[0]}
	}
	texts, places := make([]string, len(values)), 0
	for i, v := range values {
		texts[i] = strconv.FormatFloat(v, 'f', -1, 64)
		places = max(places, placesOf(texts[i]))
	}
	const more = 30 // extra decimal places for the division: a float64 holds 17 digits
	sum := new(big.Int)
	for _, text := range texts {
		zeros := strings.Repeat("0", places-placesOf(text))
		x, _ := new(big.Int).SetString(strings.Replace(text, ".", "", 1)+zeros, 10)
		sum.Add(sum, x)
	}
	sum.Mul(sum, new(big.Int).Exp(big.NewInt(10), big.NewInt(more), nil))
	sum.Quo(sum, big.NewInt(int64(len(values))))
	value, _ := strconv.ParseFloat(fmt.Sprintf("%de-%d", sum, places+more), 64) // cannot fail: formatted here
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(value, 'f', places+1, 64), 64)
	return average{value, rounded}
}

// placesOf returns how many digits a decimal number has after its decimal point.
func placesOf(text string) int {
	_, fraction, _ := strings.Cut(text, ".")
	return len(fraction)
}
