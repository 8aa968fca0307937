package debounce

import "time"

// hold keeps a contact at 1 for a time after it was 1 last, as a motion detector's
// user wants it: a walk through the hall is one detection. Each further 1 begins
// the time anew.
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

// due is when the hold ends; zero if none is under way.
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

// latest is the later of two times.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
