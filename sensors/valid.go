package sensors

import (
	"fmt"
	"math"
	"strconv"
)

// Valid says which values of a stream are valid. Any other value counts as a failed read.
type Valid struct {
	Min, Max *float64 // in the stream's unit; nil: no limit
	Jump     float64  // the maximum difference between two samples, in the stream's unit; 0: no limit
}

// validator checks the samples of one stream.
type validator struct {
	Valid
	unit        string
	last        *float64 // the last valid value; nil: there is none, or Jump is 0
	unconfirmed *float64 // a rejected jump, which the next sample may confirm; nil: none
}

// check returns an error if a value is not valid. It rejects a jump once and accepts it if
// the next sample is near it: a spike is one sample, but an open door of a cold store is a
// step that stays.
//
// A nil validator accepts every number.
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
	case p.isJump(v, p.last) && (p.unconfirmed == nil || p.isJump(v, p.unconfirmed)):
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

// isJump reports whether v is a jump from another value; false if from is nil.
func (p *validator) isJump(v float64, from *float64) bool {
	return p.Jump > 0 && from != nil && math.Abs(v-*from) > p.Jump+noise(v, *from, p.Jump)
}

// text returns a value with its unit, for an error.
func (p *validator) text(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if p.unit != "" {
		text += " " + p.unit
	}
	return text
}

// noise returns the maximum rounding error when the difference of a and b is compared with
// a limit. Without it, 20.3 - 20 could count as less than 0.3, or more, because of the binary
// forms of the numbers.
func noise(a, b, limit float64) float64 {
	const ulp = 1.0 / (1 << 52)
	return ulp * (math.Abs(a) + math.Abs(b) + math.Abs(limit))
}
