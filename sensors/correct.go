package sensors

import (
	"math/big"
	"strconv"
)

// A Correction makes the true value of what a sensor reads: value * Scale + Offset,
// or the line through Points. The zero value changes nothing.
type Correction struct {
	Scale  float64 // 0: 1
	Offset float64 // in the stream's unit
	Points []Point // two or more, Reads rising; Scale and Offset are not used then
}

// A Point is what a sensor reads where somebody knows the true value.
type Point struct{ Reads, Is float64 }

// isZero reports whether a correction changes nothing.
func (c Correction) isZero() bool {
	return len(c.Points) == 0 && c.Offset == 0 && (c.Scale == 0 || c.Scale == 1)
}

// A corrector is a correction as lines, one after the other. It computes with the
// decimal fractions that people write: 20.3 and an offset of -0.4 are 19.9, not
// 19.900000000000002, and each point is met exactly. It is nil where nothing is
// corrected.
type corrector struct{ lines []line }

// line is value = is + (read - reads) * slope, for what is read up to a value.
type line struct {
	upTo             float64 // the last line of a corrector has no end
	reads, is, slope *big.Rat
}

// newCorrector makes one line of scale and offset, or one between each two points.
func newCorrector(c Correction) *corrector {
	if c.isZero() {
		return nil
	}
	if len(c.Points) == 0 {
		scale := c.Scale
		if scale == 0 {
			scale = 1
		}
		return &corrector{[]line{{reads: new(big.Rat), is: decimal(c.Offset), slope: decimal(scale)}}}
	}
	var lines []line
	for i, to := range c.Points[1:] {
		from := c.Points[i]
		run, rise := decimal(to.Reads), decimal(to.Is)
		run.Sub(run, decimal(from.Reads))
		rise.Sub(rise, decimal(from.Is))
		lines = append(lines, line{to.Reads, decimal(from.Reads), decimal(from.Is), rise.Quo(rise, run)})
	}
	return &corrector{lines}
}

// correct returns the true value. Beyond the first and the last point the nearest
// line goes on: a thermometer that was calibrated in ice and in boiling water is right
// in a freezer, too. What is no number stays as it is: the validator refuses it.
func (c *corrector) correct(v float64) float64 {
	if c == nil {
		return v
	}
	x := decimal(v)
	if x == nil {
		return v
	}
	at := c.lines[len(c.lines)-1]
	for _, l := range c.lines {
		if v <= l.upTo {
			at = l
			break
		}
	}
	x.Sub(x, at.reads).Mul(x, at.slope).Add(x, at.is)
	got, _ := x.Float64()
	return got
}

// Corrects reports whether a stream with this filter may publish other values than what
// its sensor reads.
func (f Filter) Corrects() bool { return !f.Correction.isZero() || f.Precision != nil }

// Corrected returns the true value of what a sensor reads.
func (f Filter) Corrected(v float64) float64 { return newCorrector(f.Correction).correct(v) }

// Rounded returns what a stream publishes for a single sample of a corrected value.
func (f Filter) Rounded(v float64) float64 {
	if f.Precision != nil {
		v = round(v, *f.Precision)
	}
	return v + 0 // as in emitValue
}

// decimal is the decimal fraction that a value is written as; nil for what is no
// number.
func decimal(v float64) *big.Rat {
	x, ok := new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
	if !ok {
		return nil
	}
	return x
}
