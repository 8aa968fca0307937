package sensors

import (
	"math"
	"time"
)

// Report says which values of a stream become readings. The zero value reports each.
type Report struct {
	Change  float64       // minimum difference to the last reported value, in the stream's unit; 0: any difference
	AtLeast time.Duration // a value is reported after this time even without a change; 0: never
}

// reported is the last value that a stream has reported.
type reported struct {
	Report
	every time.Duration // between the stream's values: AtLeast is rounded to a multiple of it
	any   bool          // there is a last value; false: the next one is always reported
	last  average
	at    time.Time
}

// shouldReport reports whether a value becomes a reading, and remembers it as the last one
// if so.
func (r *reported) shouldReport(v average, at time.Time) bool {
	if r.any && r.Report != (Report{}) && !r.changed(v) && !r.due(at) {
		return false
	}
	r.any, r.last, r.at = true, v, at
	return true
}

// changed reports whether v differs enough from the last value. With a limit it compares
// the exact values; where any difference counts, it compares what would be published.
func (r *reported) changed(v average) bool {
	if r.Change == 0 {
		return v.rounded != r.last.rounded
	}
	moved := math.Abs(v.value - r.last.value)
	return moved > 0 && moved >= r.Change-noise(v.value, r.last.value, r.Change)
}

// due reports whether AtLeast has passed, rounded to the interval of the stream: a
// measurement that is a moment early must not delay the reading by a whole interval.
func (r *reported) due(at time.Time) bool {
	return r.AtLeast > 0 && at.Sub(r.at) >= r.AtLeast-r.every/2
}

// forget makes shouldReport true for the next value: a failure was reported in between.
func (r *reported) forget() { r.any = false }
