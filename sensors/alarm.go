package sensors

import "time"

// A Limit makes an alarm of a measured stream.
type Limit struct {
	At    float64       // beyond it, in the measured stream's unit, is an alarm
	Below bool          // beyond is below it, not above
	Clear float64       // from here on the alarm is over; At, or on the good side of it
	For   time.Duration // how long every sample has to be beyond before it is one

	Stream Stream // the two-valued stream of the alarm: see [AlarmStates]
}

// AlarmStates are the words of an alarm's stream.
var AlarmStates = []string{"ok", "alarm"}

// alarm is a limit with its memory:
//
//	       beyond for For
//	ok  ────────────────────▶  alarm
//	    ◀────────────────────
//	           clear
type alarm struct {
	Limit
	on           bool
	reported     bool      // since the start, or since the source was lost
	lossReported bool      // since the source was lost
	since        time.Time // of the first sample beyond the limit; zero: the last sample was not beyond it
}

// judge takes a value and reports whether the alarm is on, and whether that is
// news: the first value is, then only a change.
func (a *alarm) evaluate(v float64, at time.Time) (on, changed bool) {
	was := a.on
	switch {
	case a.on:
		a.on = !a.cleared(v)
	case !a.beyond(v):
		a.since = time.Time{}
	default:
		if a.since.IsZero() {
			a.since = at
		}
		a.on = at.Sub(a.since) >= a.For
	}
	if a.on != was {
		a.since = time.Time{}
	}
	changed = !a.reported || a.on != was
	a.reported, a.lossReported = true, false
	return a.on, changed
}

// lost takes note that the source has failed for good, and reports whether that
// is news. Nobody knows then what the value has been: the time beyond the limit
// begins anew. An alarm that was on stays on until a value clears it.
func (a *alarm) lost() (changed bool) {
	changed = !a.lossReported
	a.reported, a.lossReported, a.since = false, true, time.Time{}
	return changed
}

// beyond reports whether a value is on the alarm's side of the threshold.
func (a *alarm) beyond(v float64) bool {
	if a.Below {
		return v < a.At
	}
	return v > a.At
}

// cleared reports whether a value ends the alarm.
func (a *alarm) cleared(v float64) bool {
	if a.Below {
		return v >= a.Clear
	}
	return v <= a.Clear
}
