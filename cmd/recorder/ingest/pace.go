package ingest

import "time"

// A pace finds out how many messages the broker sends without an acknowledgement. MQTT 3.1.1
// does not say it, and with MQTT 5 a broker may send fewer than allowed. If a batch waited for
// more messages than that, it would wait for nothing; and if each pause ended a batch, a slow
// site would need a commit for each reading.
//
// Two batches in a row that pause at the same number suggest that it is the limit:
// the next ones are committed when they have that many. A message that comes while
// as many wait for their acknowledgement disproves it.
type pace struct {
	pausedAt int // how many messages the last batch had when no more came in time
	limit    int // how many messages the broker seems to send; 0: not known
}

// full reports whether the broker sends no more than a batch has.
func (p *pace) full(n int) bool { return p.limit > 0 && n >= p.limit }

// wait returns how long to wait for the next message of a batch that has n messages.
func (p *pace) wait(n int, left time.Duration) time.Duration {
	if n == p.pausedAt {
		return min(pauseTimeout, left)
	}
	return left
}

// paused notes that no message came in time.
func (p *pace) paused(n int) {
	if n == p.pausedAt {
		p.limit = n
	}
	p.pausedAt = n
}

// committed notes how many messages came during a commit, before it is acknowledged.
func (p *pace) committed(waiting int) {
	if p.limit > 0 && waiting > 0 {
		*p = pace{}
	}
}
