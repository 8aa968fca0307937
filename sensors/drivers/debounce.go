package drivers

import "time"

// edgeWait bounds one wait for an edge: neither periph nor the kernel waits on a
// context, and an edge may be missed.
const edgeWait = 250 * time.Millisecond

// debounce finds the level of a contact that bounces: a level counts once it has
// held for some time. It knows no clock and no hardware; it is told what was
// seen and when. The level that it reports last is the true one as soon as the
// contact is quiet, whatever it missed before.
type debounce struct {
	hold time.Duration

	seen  bool // there is a level
	level bool // the level seen last
	since time.Time

	told bool // there was a report
	last bool // the level reported last
}

// see takes the level at a time. It reports whether that level counts now and
// is news.
func (d *debounce) see(level bool, at time.Time) (news bool) {
	if !d.seen || level != d.level {
		d.seen, d.level, d.since = true, level, at
	}
	if !d.pending() || at.Sub(d.since) < d.hold {
		return false
	}
	d.told, d.last = true, level
	return true
}

// edge takes notice that the level changed, if only for a moment: it has not
// held until then, even if it is the same again.
func (d *debounce) edge(at time.Time) { d.since = at }

// pending reports whether a level waits to count.
func (d *debounce) pending() bool { return !d.told || d.level != d.last }

// next is how long to wait before seeing again, if no edge comes before.
func (d *debounce) next(at time.Time) time.Duration {
	if !d.pending() {
		return edgeWait
	}
	return min(max(d.hold-at.Sub(d.since), time.Millisecond), edgeWait)
}
