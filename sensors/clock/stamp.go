package clock

import "time"

// A Stamp is one moment by two clocks: the wall clock, and the time since the
// kernel booted.
type Stamp struct {
	// Unix is what the wall clock showed, in milliseconds UTC since 1970.
	Unix int64
	// Uptime is how long the kernel had been running, suspended time included,
	// in whole milliseconds. No program sets that clock, so differences between
	// two moments of one boot are always right.
	Uptime time.Duration
	// Kernel is the boot of the kernel that Uptime belongs to. Empty: Uptime has
	// no meaning.
	Kernel string
	// Clock is how far Unix can be trusted.
	Clock Quality
}

// Before returns the stamp of the moment ago before this one.
func (s Stamp) Before(ago time.Duration) Stamp {
	ago = ago.Truncate(time.Millisecond)
	s.Unix -= ago.Milliseconds()
	s.Uptime -= ago
	return s
}

// Monotonic returns the moment by the kernel's uptime. Only differences between two such
// times of one boot have a meaning.
func (s Stamp) Monotonic() time.Time { return time.Unix(0, 0).Add(s.Uptime) }
