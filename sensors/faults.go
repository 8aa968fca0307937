package sensors

import "time"

// faultAfter is how many failures in a row are a fault: one NAK is not.
const faultAfter = 3

// trouble counts failures in a row.
type trouble struct {
	failures int
	since    time.Time
	told     bool // as a fault
}

func (t *trouble) fail(now time.Time) {
	if t.failures == 0 {
		t.since = now
	}
	t.failures++
}

// fault reports once that the failures have become a fault.
func (t *trouble) fault() bool {
	if t.failures < faultAfter || t.told {
		return false
	}
	t.told = true
	return true
}

// over ends the failures. It reports whether they were a fault, and how long
// they lasted.
func (t *trouble) over(now time.Time) (lasted time.Duration, fault bool) {
	lasted, fault = now.Sub(t.since), t.told
	*t = trouble{}
	return lasted, fault
}
