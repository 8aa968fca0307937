package debounce

import "time"

// hold keeps the value at 1 for a time after the contact has left 1. With a motion detector,
// a walk through the hall is then one detection. Each further 1 starts the time again.
type hold struct {
	length time.Duration // 0: it holds nothing
	on     bool
	ends   time.Time // when 0 counts; zero while the contact is 1
}

// pass takes a change at the time that it counts, and reports whether it changes the value.
func (h *hold) pass(c Change, at time.Time) (Change, bool) {
	switch {
	case h.length == 0:
		return c, true
	case c.On:
		first := !h.on
		h.on, h.ends = true, time.Time{}
		return c, first
	case !h.on:
		return c, true // the level of the start
	}
	h.ends = latest(c.Since.Add(h.length), at)
	return Change{}, false
}

// due returns when the hold ends; zero: there is none.
func (h *hold) due() time.Time { return h.ends }

// expire ends the hold if its time has come.
func (h *hold) expire(at time.Time) (c Change, ok bool) {
	if h.ends.IsZero() || h.ends.After(at) {
		return Change{}, false
	}
	c = Change{false, h.ends}
	h.on, h.ends = false, time.Time{}
	return c, true
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
