package sensors

import "time"

// faultAfter is how many failures in a row are a fault: one NAK is not.
const faultAfter = 3

// faults counts failures in a row.
type faults struct {
	failures int
	since    time.Time
	reported bool // as a fault
}

// fail counts a failure. The first one in a row sets the time.
func (t *faults) fail(now time.Time) {
	if t.failures == 0 {
		t.since = now
	}
	t.failures++
}

// fault reports once that the failures have become a fault.
func (t *faults) fault() bool {
	if t.failures < faultAfter || t.reported {
		return false
	}
	t.reported = true
	return true
}

// over ends the failures. It reports whether they were a fault, and how long
// they lasted.
func (t *faults) over(now time.Time) (lasted time.Duration, fault bool) {
	lasted, fault = now.Sub(t.since), t.reported
	*t = faults{}
	return lasted, fault
}
