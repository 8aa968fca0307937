package sensors

import (
	"strconv"
	"time"
)

// mean makes one reading of the samples of a span of time: their mean, without
// those that failed. The spans follow one another without holes from the first
// sample on, so that samples which come late or again do not move the readings.
type mean struct {
	samples int           // in a span
	span    time.Duration // between two readings

	end time.Time // a sample from here on is the last of its span
	sum float64
	n   int   // samples in sum
	err error // of the last one that failed
}

// add takes a sample or the reason why there is none. When it is the last of its
// span it returns their mean, or an error if all have failed.
func (m *mean) add(v float64, err error, at time.Time) (value float64, failed error, done bool) {
	if err == nil {
		m.sum += v
		m.n++
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
		return 0, nil, false
	}
	m.end = m.end.Add((at.Sub(m.end)/m.span + 1) * m.span)
	return m.close()
}

func (m *mean) close() (value float64, failed error, done bool) {
	if m.n == 0 {
		failed = m.err
	} else {
		value = rounded(m.sum / float64(m.n))
	}
	m.sum, m.n, m.err = 0, 0, nil
	return value, failed, true
}

// rounded has seven digits: more than any sensor means, and no 20.336666666666666
// in a payload.
func rounded(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 7, 64), 64) // what was just formatted parses
	return v
}
