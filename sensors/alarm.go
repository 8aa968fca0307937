package sensors

import "time"

// A Limit derives an alarm from a measured stream.
type Limit struct {
	At    float64       // the threshold, in the measured stream's unit
	Below bool          // an alarm is a value below At; false: a value above At
	Clear float64       // the alarm ends at this value: At itself, or a value on its normal side (hysteresis)
	For   time.Duration // how long every sample has to be beyond At before the alarm begins

	Stream Stream // the alarm's own stream of two values: see [AlarmStates]
}

// AlarmStates are the words of an alarm's stream.
var AlarmStates = []string{"ok", "alarm"}

// alarm is the state machine of a limit:
//
//	       beyond for For
//	ok  ────────────────────▶  alarm
//	    ◀────────────────────
//	           clear
type alarm struct {
	Limit
	early        time.Duration // how much earlier than after For a sample may begin the alarm
	on           bool
	reported     bool      // the state was reported since the start, or since the source failed
	lossReported bool      // the failure of the source was reported
	since        time.Time // of the first sample beyond the limit; zero: the last sample was not beyond it
}

// maxEarly bounds alarm.early: one measurement takes longer than another, and a sample that
// is some milliseconds early must not delay the alarm by a whole interval.
const maxEarly = time.Second

// newAlarm returns the state machine of a limit on a stream with the interval every; 0: its
// samples come with events.
func newAlarm(limit Limit, every time.Duration) *alarm {
	return &alarm{Limit: limit, early: min(every/20, limit.For/2, maxEarly)}
}

// evaluate takes a value. It returns whether the alarm is on, and whether that has to be
// reported: the first state is reported, then each change.
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
		a.on = at.Sub(a.since) >= a.For-a.early
	}
	if a.on != was {
		a.since = time.Time{}
	}
	changed = !a.reported || a.on != was
	a.reported, a.lossReported = true, false
	return a.on, changed
}

// lost notes that the source has failed several times in a row, and returns whether that
// has to be reported. The values in between are unknown, so the time beyond the limit
// starts again. An alarm that is on stays on until a value clears it.
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

// cleared reports whether a value ends an alarm that is on.
func (a *alarm) cleared(v float64) bool {
	if a.Below {
		return v >= a.Clear
	}
	return v <= a.Clear
}
