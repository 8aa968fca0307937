package sensors

import (
	"math"
	"time"
)

// Report says which values of a stream are worth a reading. The zero value
// reports each.
type Report struct {
	Change  float64       // from the last one reported, in the stream's unit; 0: any
	AtLeast time.Duration // since the last one reported, whatever it is; 0: never for that alone
}

// reported is what a stream has said last.
type reported struct {
	Report
	every time.Duration // between the stream's values: AtLeast counts to the nearest
	any   bool
	last  average
	at    time.Time
}

// shouldReport reports whether a value is worth a reading, and takes it for said.
func (r *reported) shouldReport(v average, at time.Time) bool {
	if r.any && r.Report != (Report{}) && !r.changed(v) && !r.due(at) {
		return false
	}
	r.any, r.last, r.at = true, v, at
	return true
}

// changed compares the values themselves with a limit, and what would be
// published where any change counts.
func (r *reported) changed(v average) bool {
	if r.Change == 0 {
		return v.rounded != r.last.rounded
	}
	moved := math.Abs(v.value - r.last.value)
	return moved > 0 && moved >= r.Change-noise(v.value, r.last.value, r.Change)
}

// due reports whether AtLeast has passed, rounded to the stream's own pace: a
// measurement that takes a moment longer than the last must not cost a whole
// beat.
func (r *reported) due(at time.Time) bool {
	return r.AtLeast > 0 && at.Sub(r.at) >= r.AtLeast-r.every/2
}

// forget makes the next value worth a reading: something else was said.
func (r *reported) forget() { r.any = false }
