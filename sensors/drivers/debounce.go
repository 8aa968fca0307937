package drivers

import "time"

// debounceMode is what a contact has to do before a change of it counts.
type debounceMode string

const (
	// A level counts after it has held for the time: a shorter pulse is noise.
	debounceStable debounceMode = "stable"
	// The first edge counts at once; then the contact has to be quiet for the
	// time before the next change counts.
	debounceSettle debounceMode = "settle"
)

// debounce finds the changes of a contact that bounces. It knows no clock and no
// hardware: it is told what was seen and when, in order of time, and before each
// call [debounce.rest] of everything until then.
//
// The level that counted last is the true one as soon as the contact has been
// quiet for the time, whatever was missed before. The level of the start counts
// once it has held, in both modes: a pull takes a moment to charge a long wire.
type debounce struct {
	mode  debounceMode
	quiet time.Duration // the time

	seen   bool // there is a level
	on     bool // the level
	edged  time.Time
	upset  time.Time // the edge that ended the last rest
	looked time.Time // of the last look that found a change before its edge was told

	told bool // a level has counted
	last bool // the one that counted last

	edges, counted uint64 // edges, and those of them that counted
	before         uint64 // swallowed when the last rest ended
}

// A change is a level that counts, and since when it holds.
type change struct {
	on    bool
	since time.Time
}

// look takes the level at a time. A level that is another than it was is an edge
// that was missed.
func (d *debounce) look(on bool, at time.Time) (c change, news bool) {
	switch {
	case !d.seen:
		d.seen, d.on, d.edged, d.upset = true, on, at, at
	case on != d.on:
		d.looked = at
		return d.edge(on, at, 0)
	}
	return change{}, false
}

// edge takes notice that the contact went to a level at a time, and how many
// edges before that one got lost. An edge to the level that it has been at
// stands for two, there and back.
func (d *debounce) edge(on bool, at time.Time, lost uint32) (c change, news bool) {
	switch {
	case !d.seen:
		return d.look(on, at)
	case on != d.on, lost > 0:
	case !at.After(d.looked):
		return change{}, false // a look has seen it
	default:
		lost = 1
	}
	rested := d.rested(at)
	if rested {
		d.upset, d.before = at, d.swallowed()
	}
	d.edges += uint64(lost) + 1
	d.on, d.edged = on, at
	if rested && d.mode == debounceSettle && d.waits() {
		return d.count(), true
	}
	return change{}, false
}

// miss takes notice that edges got lost before a time: there was no rest that
// anybody could vouch for.
func (d *debounce) miss(at time.Time) { d.edged = at }

// due is when the level counts if there is no edge before; zero if it counts
// already.
func (d *debounce) due() time.Time {
	if !d.waits() {
		return time.Time{}
	}
	return d.edged.Add(d.quiet)
}

// rest takes notice that there was no edge until a time.
func (d *debounce) rest(at time.Time) (c change, news bool) {
	if !d.waits() || !d.rested(at) {
		return change{}, false
	}
	return d.count(), true
}

// waits reports whether the level does not count yet.
func (d *debounce) waits() bool { return d.seen && (!d.told || d.on != d.last) }

func (d *debounce) rested(at time.Time) bool { return at.Sub(d.edged) >= d.quiet }

func (d *debounce) count() change {
	if d.told { // the level of the start is no edge
		d.counted++
	}
	d.told, d.last = true, d.on
	return change{d.on, d.edged}
}

// restless is for how long the contact has not been quiet for the time.
func (d *debounce) restless(at time.Time) time.Duration {
	if !d.seen || d.rested(at) {
		return 0
	}
	return at.Sub(d.upset)
}

// swallowed is how many edges did not count.
func (d *debounce) swallowed() uint64 {
	if d.told && d.waits() {
		return d.edges - d.counted - 1 // this one may yet
	}
	return d.edges - d.counted
}
