package sensors

import (
	"fmt"
	"math"
	"strconv"
)

// Valid are the values that a stream believes. What is outside is a failed read.
type Valid struct {
	Min, Max *float64 // in the stream's unit; nil: no bound
	Jump     float64  // the most between two samples; 0: any
}

// validator checks the samples of one stream.
type validator struct {
	Valid
	unit        string
	last        *float64 // the last value that was believed; nil also where any jump is
	unconfirmed *float64 // the jump that the next sample is to confirm
}

// check says why a value is not to be believed. A jump is refused once and
// believed when the next sample is near it: a spike is one sample, a door opened
// in the cold store is a step.
//
// A nil validator believes every number.
func (p *validator) check(v float64) error {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Errorf("the sensor returned %v, not a number", v)
	case p == nil:
		return nil
	case p.Min != nil && v < *p.Min:
		return fmt.Errorf("%s is below valid.min %s", p.text(v), p.text(*p.Min))
	case p.Max != nil && v > *p.Max:
		return fmt.Errorf("%s is above valid.max %s", p.text(v), p.text(*p.Max))
	case p.far(v, p.last) && (p.unconfirmed == nil || p.far(v, p.unconfirmed)):
		spike := v
		p.unconfirmed = &spike
		return fmt.Errorf("%s is a jump from %s beyond valid.jump %s: refused unless the next sample confirms it",
			p.text(v), p.text(*p.last), p.text(p.Jump))
	}
	if p.Jump > 0 {
		last := v // v itself would be on the heap in every call
		p.last, p.unconfirmed = &last, nil
	}
	return nil
}

// far reports whether a value is a jump from another; false if there is no other.
func (p *validator) far(v float64, from *float64) bool {
	return p.Jump > 0 && from != nil && math.Abs(v-*from) > p.Jump+noise(v, *from, p.Jump)
}

// text is a value with its unit, for an error.
func (p *validator) text(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if p.unit != "" {
		text += " " + p.unit
	}
	return text
}

// noise is how far the difference of two decimal fractions can be from what
// people compute, and its limit from what they wrote: 20.3 - 20 is no less than
// 0.3 and no more, whatever their binary forms make of it.
func noise(a, b, limit float64) float64 {
	const ulp = 1.0 / (1 << 52)
	return ulp * (math.Abs(a) + math.Abs(b) + math.Abs(limit))
}
