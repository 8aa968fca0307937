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
	value float64
	at    time.Time
}

// worth reports whether a value is worth a reading, and takes it for said.
func (r *reported) worth(v float64, at time.Time) bool {
	if r.any && r.Report != (Report{}) && !r.changed(v) && !r.due(at) {
		return false
	}
	r.any, r.value, r.at = true, v, at
	return true
}

func (r *reported) changed(v float64) bool {
	if r.Change == 0 {
		return v != r.value
	}
	return !beyond(r.Change, math.Abs(v-r.value))
}

// due reports whether AtLeast has passed, rounded to the stream's own pace: a
// measurement that takes a moment longer than the last must not cost a whole
// beat.
func (r *reported) due(at time.Time) bool {
	return r.AtLeast > 0 && at.Sub(r.at) >= r.AtLeast-r.every/2
}

// forget makes the next value worth a reading: something else was said.
func (r *reported) forget() { r.any = false }
