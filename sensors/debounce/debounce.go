package debounce

import "time"

// A Mode is what a contact has to do before a change of it counts.
type Mode string

const (
	// A level counts after it has held for the time: a shorter pulse is noise.
	Stable Mode = "stable"
	// The first edge counts at once; then the contact has to be quiet for the
	// time before the next change counts.
	Settle Mode = "settle"
)

// debounce finds the changes of a contact that bounces. Calls are in order of time,
// and before each one [debounce.rest] is called for the time until then.
//
// As soon as the contact has been quiet for long enough, the level that counted
// last is the true one, whatever was missed before. The first level counts once it
// has held, in both modes: a pull resistor takes a moment to charge a long wire.
type debounce struct {
	mode  Mode
	quiet time.Duration // how long is long enough

	seen   bool // there is a level
	on     bool // the level
	edged  time.Time
	upset  time.Time // the edge that ended the last rest
	looked time.Time // the last look that found a change before its edge was read

	counting bool // a level has counted
	last     bool // the one that counted last

	edges, counted uint64 // edges, and those of them that counted
	before         uint64 // swallowed when the last rest ended
}

// A Change is a level that counts, and since when it holds.
type Change struct {
	On    bool
	Since time.Time
}

// look takes the level at a time. A level that differs from the last one is an
// edge that was missed.
func (d *debounce) look(on bool, at time.Time) (c Change, ok bool) {
	switch {
	case !d.seen:
		d.seen, d.on, d.edged, d.upset = true, on, at, at
	case on != d.on:
		d.looked = at
		return d.edge(on, at, 0)
	}
	return Change{}, false
}

// edge takes an edge to a level at a time, and how many edges before it were lost.
// An edge to the present level means that one was missed: it counts as two.
func (d *debounce) edge(on bool, at time.Time, lost uint32) (c Change, ok bool) {
	switch {
	case !d.seen:
		return d.look(on, at)
	case on != d.on, lost > 0:
	case !at.After(d.looked):
		return Change{}, false // a look has seen it already
	default:
		lost = 1
	}
	rested := d.rested(at)
	if rested {
		d.upset, d.before = at, d.swallowed()
	}
	d.edges += uint64(lost) + 1
	d.on, d.edged = on, at
	if rested && d.mode == Settle && d.waits() {
		return d.count(), true
	}
	return Change{}, false
}

// miss notes that edges before a time were lost: so nobody knows whether the
// contact was quiet until then.
func (d *debounce) miss(at time.Time) { d.edged = at }

// due is when the level counts if there is no further edge; zero if it counts
// already.
func (d *debounce) due() time.Time {
	if !d.waits() {
		return time.Time{}
	}
	return d.edged.Add(d.quiet)
}

// rest notes that there was no edge until a time.
func (d *debounce) rest(at time.Time) (c Change, ok bool) {
	if !d.waits() || !d.rested(at) {
		return Change{}, false
	}
	return d.count(), true
}

// waits reports whether the level is still to be counted.
func (d *debounce) waits() bool { return d.seen && (!d.counting || d.on != d.last) }

// rested reports whether the contact was quiet for long enough until a time.
func (d *debounce) rested(at time.Time) bool { return at.Sub(d.edged) >= d.quiet }

// count makes the level count.
func (d *debounce) count() Change {
	if d.counting { // the level of the start is no edge
		d.counted++
	}
	d.counting, d.last = true, d.on
	return Change{d.on, d.edged}
}

// restless is for how long the contact has not been quiet for long enough.
func (d *debounce) restless(at time.Time) time.Duration {
	if !d.seen || d.rested(at) {
		return 0
	}
	return at.Sub(d.upset)
}

// swallowed is how many edges did not count.
func (d *debounce) swallowed() uint64 {
	if d.counting && d.waits() {
		return d.edges - d.counted - 1 // this one may yet
	}
	return d.edges - d.counted
}
