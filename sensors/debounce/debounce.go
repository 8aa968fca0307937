package debounce

import "time"

// A Mode says when a change of a contact counts.
type Mode string

const (
	// In mode Stable a level counts after it has not changed for Options.Quiet: a shorter
	// pulse is noise.
	Stable Mode = "stable"
	// In mode Settle the first edge counts at once; then the contact has to be quiet for
	// Options.Quiet before the next change counts.
	Settle Mode = "settle"
)

// debounce finds the changes of a contact that bounces. The times of its calls must not
// decrease, and before each call [debounce.rest] has to be called for that time.
//
// As soon as the contact has been quiet for long enough, the level that counted last is the
// true one, even if edges were missed before. In both modes the first level counts after it
// has been quiet: a pull resistor takes a moment to charge a long wire.
type debounce struct {
	mode  Mode
	quiet time.Duration // how long the contact has to be quiet

	seen      bool      // there is a level
	on        bool      // the level
	lastEdge  time.Time // or the first level
	upset     time.Time // the edge that ended the last quiet time
	polledNew time.Time // the last poll that found a change before its edge was read

	counting bool // a level has counted
	last     bool // the one that counted last

	edges, counted uint64 // all edges, and those that counted
	before         uint64 // result of swallowed when the last quiet time ended
}

// A Change is a level that counts, and when it began.
type Change struct {
	On    bool
	Since time.Time
}

// level takes the polled level at a time. If it differs from the last one, an edge was
// missed or not read yet.
func (d *debounce) level(on bool, at time.Time) (c Change, ok bool) {
	switch {
	case !d.seen:
		d.seen, d.on, d.lastEdge, d.upset = true, on, at, at
	case on != d.on:
		d.polledNew = at
		return d.edge(on, at, 0)
	}
	return Change{}, false
}

// edge takes an edge to a level at a time, and how many edges before it were lost. An edge to
// the current level means that another one was missed: it counts as two.
func (d *debounce) edge(on bool, at time.Time, lost uint32) (c Change, ok bool) {
	switch {
	case !d.seen:
		return d.level(on, at)
	case on != d.on, lost > 0:
	case !at.After(d.polledNew):
		return Change{}, false // a poll has found this change already
	default:
		lost = 1
	}
	rested := d.rested(at)
	if rested {
		d.upset, d.before = at, d.swallowed()
	}
	d.edges += uint64(lost) + 1
	d.on, d.lastEdge = on, at
	if rested && d.mode == Settle && d.isPending() {
		return d.count(), true
	}
	return Change{}, false
}

// miss notes that edges before a time were lost, so that the contact may not have been quiet
// until then.
func (d *debounce) miss(at time.Time) { d.lastEdge = at }

// due returns when the level counts if there is no further edge; zero: it counts already.
func (d *debounce) due() time.Time {
	if !d.isPending() {
		return time.Time{}
	}
	return d.lastEdge.Add(d.quiet)
}

// rest notes that there was no edge until a time.
func (d *debounce) rest(at time.Time) (c Change, ok bool) {
	if !d.isPending() || !d.rested(at) {
		return Change{}, false
	}
	return d.count(), true
}

// isPending reports whether there is a level that does not count yet.
func (d *debounce) isPending() bool { return d.seen && (!d.counting || d.on != d.last) }

// rested reports whether the contact was quiet for long enough until a time.
func (d *debounce) rested(at time.Time) bool { return at.Sub(d.lastEdge) >= d.quiet }

// count makes the current level count.
func (d *debounce) count() Change {
	if d.counting { // the first level is no edge
		d.counted++
	}
	d.counting, d.last = true, d.on
	return Change{d.on, d.lastEdge}
}

// restless returns for how long the contact has changed without being quiet for long enough;
// 0: it is quiet.
func (d *debounce) restless(at time.Time) time.Duration {
	if !d.seen || d.rested(at) {
		return 0
	}
	return at.Sub(d.upset)
}

// swallowed returns how many edges did not count.
func (d *debounce) swallowed() uint64 {
	if d.counting && d.isPending() {
		return d.edges - d.counted - 1 // the last edge may still count
	}
	return d.edges - d.counted
}
