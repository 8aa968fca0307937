// Package debounce decides which edges and levels of a contact become readings.
//
// A [Filter] has three stages. debounce turns edges and levels into changes, hold prolongs
// the value 1, and flapping replaces too many changes by one event. None of them reads a
// clock or the hardware: the caller passes what it has seen and when.
package debounce

import "time"

// Options say how a contact is filtered.
type Options struct {
	Mode         Mode
	Quiet        time.Duration // how long a contact has to be without an edge: see Mode
	Hold         time.Duration // how long the value stays 1 after the contact has left 1; 0: not at all
	MaxPerMinute int           // readings in a minute; more are flapping; 0: no limit
}

// A Filter turns the edges and levels of a contact into notices. It is not safe for
// concurrent use.
//
// Times are those of the edges, not of the calls: a burst of edges that was read late gives
// the same result. A time before that of an earlier call counts as that of the earlier call.
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

// Level takes the level that was read at a time.
func (f *Filter) Level(on bool, at time.Time) {
	f.advance(at)
	f.changed(f.debounce.level(on, f.now))
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

// Due returns when [Filter.Level] has to be called even if the contact does not change; zero:
// never.
func (f *Filter) Due() (due time.Time) {
	for _, t := range []time.Time{f.debounce.due(), f.hold.due(), f.flapping.due()} {
		if due.IsZero() || !t.IsZero() && t.Before(due) {
			due = t
		}
	}
	return due
}

// Flapping reports whether the contact is flapping. Then it is enough to read its level at
// intervals.
func (f *Filter) Flapping() bool { return f.flapping.on }

// Bouncing reports whether the contact has changed and not been quiet for Options.Quiet.
func (f *Filter) Bouncing(at time.Time) bool { return f.debounce.restless(at) > 0 }

// settle does what is due after a level or an edge.
func (f *Filter) settle() {
	f.advance(f.now) // a debounce of 0 is due at once
	if f.debounce.restless(f.now) >= flapWindow {
		since := mark{f.debounce.upset, f.debounce.before}
		f.add(f.flapping.restless(since, f.mark()))
	}
}

// advance does everything that is due until a time, in the order of its times.
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

// mark returns the mark of f.now.
func (f *Filter) mark() mark { return mark{f.now, f.debounce.swallowed()} }
