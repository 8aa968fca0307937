// Package debounce decides which edges and levels of a contact become readings.
//
// A [Filter] has three stages: debounce makes changes of edges and levels, hold
// makes changes last, and flapping turns too many changes into one event. None of
// them knows a clock or the hardware: each call says what was seen and when.
package debounce

import "time"

// Options say how a contact is filtered.
type Options struct {
	Mode         Mode
	Quiet        time.Duration // how long a contact has to be quiet
	Hold         time.Duration // how long it stays at 1 after it was 1 last; 0: not at all
	MaxPerMinute int           // readings in a minute, more are flapping; 0: any number
}

// A Filter turns what is seen of a contact into notices. It is not safe for
// concurrent use.
//
// Times are those of what was seen, not of the call: a burst of edges that was
// read late is judged as it happened. A time before an earlier one counts as that
// one.
type Filter struct {
	debounce debounce
	hold     hold
	flapping flapping

	now     time.Time // the latest time of any call
	notices []Notice  // not taken yet
}

// New returns a filter that has seen nothing.
func New(o Options) *Filter {
	return &Filter{
		debounce: debounce{mode: o.Mode, quiet: o.Quiet},
		hold:     hold{length: o.Hold},
		flapping: flapping{max: o.MaxPerMinute},
	}
}

// Level takes the level at a time.
func (f *Filter) Level(on bool, at time.Time) {
	f.advance(at)
	f.changed(f.debounce.look(on, f.now))
	f.settle()
}

// Edge takes an edge to a level, and how many edges before it were lost.
func (f *Filter) Edge(on bool, at time.Time, lost uint32) {
	if lost > 0 {
		f.debounce.miss(latest(f.now, at))
	}
	f.advance(at)
	f.changed(f.debounce.edge(on, f.now, lost))
	f.settle()
}

// Take returns the notices since the last call, oldest first.
func (f *Filter) Take() []Notice {
	notices := f.notices
	f.notices = nil
	return notices
}

// Due is when [Filter.Level] has something to do even if nothing changes; zero if
// it has nothing.
func (f *Filter) Due() (due time.Time) {
	for _, t := range []time.Time{f.debounce.due(), f.hold.due(), f.flapping.due()} {
		if due.IsZero() || !t.IsZero() && t.Before(due) {
			due = t
		}
	}
	return due
}

// Flapping reports whether the contact is flapping: a look now and then is
// enough.
func (f *Filter) Flapping() bool { return f.flapping.on }

// Bouncing reports whether the contact has not been quiet for long enough.
func (f *Filter) Bouncing(at time.Time) bool { return f.debounce.restless(at) > 0 }

// settle does what follows from what was seen.
func (f *Filter) settle() {
	f.advance(f.now) // a debounce of 0 is due at once
	if f.debounce.restless(f.now) >= flapWindow {
		since := mark{f.debounce.upset, f.debounce.before}
		f.add(f.flapping.restless(since, f.mark()))
	}
}

// advance does what is due until a time, each at its own.
func (f *Filter) advance(until time.Time) {
	for due := f.Due(); !due.IsZero() && !due.After(until); due = f.Due() {
		f.now = latest(f.now, due)
		f.changed(f.debounce.rest(f.now))
		f.passed(f.hold.expire(f.now))
		f.add(f.flapping.tick(f.mark(), f.debounce.restless(f.now) >= flapWindow))
	}
	f.now = latest(f.now, until)
}

// changed passes a change from debounce to hold.
func (f *Filter) changed(c Change, ok bool) {
	if ok {
		f.passed(f.hold.pass(c, f.now))
	}
}

// passed passes a change from hold to flapping.
func (f *Filter) passed(c Change, ok bool) {
	if ok {
		f.add(f.flapping.pass(c, f.mark()))
	}
}

// add keeps notices until they are taken.
func (f *Filter) add(notices []Notice) { f.notices = append(f.notices, notices...) }

// mark is the present moment.
func (f *Filter) mark() mark { return mark{f.now, f.debounce.swallowed()} }
