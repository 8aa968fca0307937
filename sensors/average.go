package sensors

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// mean makes one value of the samples of a span of time: their mean, without
// those that failed. The spans follow one another without holes from the first
// sample on, so that samples which come late or again do not move the readings.
type mean struct {
	samples int           // in a span; below 2 each one is a mean
	span    time.Duration // between two readings

	end    time.Time // a sample from here on is the last of its span
	values []float64 // of the span's good samples
	err    error     // of the last one that failed
}

// An average is the mean of samples. One sample is its own mean: nothing is
// rounded then.
type average struct {
	value   float64 // what alarm and report compare with their limits
	rounded float64 // to the decimal places of the samples and one more: what is published
}

// add takes a sample or the reason why there is none. When it is the last of its
// span it returns their mean, or an error if all have failed.
func (m *mean) add(v float64, err error, at time.Time) (got average, failed error, done bool) {
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
func (m *mean) close() (got average, failed error, done bool) {
	if len(m.values) == 0 {
		failed = m.err
	} else {
		got = averageOf(m.values)
	}
	m.values, m.err = m.values[:0], nil
	return got, failed, true
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
