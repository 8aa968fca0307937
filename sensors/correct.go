package sensors

import (
	"math/big"
	"strconv"
)

// A Correction turns what a sensor reads into the true value: value * Scale + Offset, or
// the line through Points. The zero value changes nothing.
type Correction struct {
	Scale  float64 // 0 means 1
	Offset float64 // in the stream's unit
	Points []Point // at least two, with increasing Reads; Scale and Offset are then ignored
}

// A Point is one calibration point: the value that the sensor reads and the true value,
// both in the stream's unit.
type Point struct{ Reads, Is float64 }

// isZero reports whether a correction changes nothing.
func (c Correction) isZero() bool {
	return len(c.Points) == 0 && c.Offset == 0 && (c.Scale == 0 || c.Scale == 1)
}

// A corrector is a correction as a sequence of lines. It computes with exact decimal
// fractions: 20.3 with an offset of -0.4 is 19.9, not 19.900000000000002, and the result at
// each point is exact. A nil corrector changes nothing.
type corrector struct{ lines []line }

// line computes value = is + (read - reads) * slope, for read values up to upTo.
type line struct {
	upTo             float64 // ignored in the last line, which has no end
	reads, is, slope *big.Rat
}

// newCorrector makes one line from scale and offset, or one between each two neighbouring
// points.
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

// correct returns the true value. Below the first and above the last point it extends the
// nearest line: a thermometer that was calibrated in ice and in boiling water is also
// corrected in a freezer. NaN and infinities are returned unchanged: the validator rejects
// them.
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

// Corrects reports whether a stream with this filter may publish values that differ from
// what its sensor reads.
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
