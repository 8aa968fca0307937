package drivers

import "time"

// watch makes of what is seen of a contact what is worth saying of it: edges and
// levels become changes ([debounce]), changes last ([hold]), and too many of
// them become an event ([flapping]). It knows no clock and no hardware.
//
// Times are those of what was seen, not of when it was told: a burst of edges
// that was read late is judged as it happened. A time before one that was told
// already counts as that one.
type watch struct {
	debounce debounce
	hold     hold
	flapping flapping

	clock time.Time // the latest time that was told
	news  []notice
}

// look takes the level at a time.
func (w *watch) look(on bool, at time.Time) {
	w.advance(at)
	w.changed(w.debounce.look(on, w.clock))
	w.seen()
}

// edge takes notice of an edge; see [debounce.edge].
func (w *watch) edge(on bool, at time.Time, lost uint32) {
	if lost > 0 {
		w.debounce.miss(latest(w.clock, at))
	}
	w.advance(at)
	w.changed(w.debounce.edge(on, w.clock, lost))
	w.seen()
}

// seen does what follows of what was seen.
func (w *watch) seen() {
	w.advance(w.clock) // a debounce of 0 is due at once
	if w.debounce.restless(w.clock) >= flapWindow {
		since := mark{w.debounce.upset, w.debounce.before}
		w.say(w.flapping.restless(since, w.mark()))
	}
}

// take returns what there is to say, oldest first, and forgets it.
func (w *watch) take() []notice {
	news := w.news
	w.news = nil
	return news
}

// due is when [watch.look] has something to do even if nothing changes; zero if
// it has nothing.
func (w *watch) due() (due time.Time) {
	for _, t := range []time.Time{w.debounce.due(), w.hold.due(), w.flapping.due()} {
		if due.IsZero() || !t.IsZero() && t.Before(due) {
			due = t
		}
	}
	return due
}

// advance does what is due until a time, each at its own.
func (w *watch) advance(until time.Time) {
	for due := w.due(); !due.IsZero() && !due.After(until); due = w.due() {
		w.clock = latest(w.clock, due)
		w.changed(w.debounce.rest(w.clock))
		w.passed(w.hold.expire(w.clock))
		w.say(w.flapping.tick(w.mark(), w.debounce.restless(w.clock) >= flapWindow))
	}
	w.clock = latest(w.clock, until)
}

func (w *watch) changed(c change, news bool) {
	if news {
		w.passed(w.hold.pass(c, w.clock))
	}
}

func (w *watch) passed(c change, news bool) {
	if news {
		w.say(w.flapping.pass(c, w.mark()))
	}
}

func (w *watch) say(news []notice) { w.news = append(w.news, news...) }

func (w *watch) mark() mark { return mark{w.clock, w.debounce.swallowed()} }
