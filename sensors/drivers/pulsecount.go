package drivers

import "time"

// pulseCount counts the pulses of a contact that bounces, by the times of its
// edges. It knows no clock and no hardware.
type pulseCount struct {
	apart  time.Duration // two pulses are at least this far apart
	at     time.Time     // of the last pulse, or the start: switching the pull on is an edge, too
	pulses uint64
}

// edge counts an edge if it is a pulse, and edges that were lost before it.
// Which of those were bounces nobody knows: all of them count, but no more than
// can have been pulses in that time.
func (c *pulseCount) edge(at time.Time, lost uint32) {
	since := at.Sub(c.at)
	if since < c.apart {
		return
	}
	missed := uint64(lost)
	if c.apart > 0 {
		missed = min(missed, uint64(since/c.apart)-1)
	}
	c.pulses += missed + 1
	c.at = at
}
