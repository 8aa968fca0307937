package sensors

import "time"

// faultAfter is how many failures in a row are a fault: a single NAK on the bus is not one.
const faultAfter = 3

// faults counts failures in a row.
type faults struct {
	failures int
	since    time.Time
	reported bool // they are a fault, and becameFault has returned true
}

// fail counts a failure. The first one in a row sets the time.
func (t *faults) fail(now time.Time) {
	if t.failures == 0 {
		t.since = now
	}
	t.failures++
}

// becameFault reports whether the failures are a fault since the last call: it returns true
// once for each fault.
func (t *faults) becameFault() bool {
	if t.failures < faultAfter || t.reported {
		return false
	}
	t.reported = true
	return true
}

// reset ends the row of failures. It returns how long they lasted and whether they were a
// fault.
func (t *faults) reset(now time.Time) (lasted time.Duration, fault bool) {
	lasted, fault = now.Sub(t.since), t.reported
	*t = faults{}
	return lasted, fault
}
