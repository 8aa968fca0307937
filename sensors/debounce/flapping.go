package debounce

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	flapWindow      = time.Minute // in which changes are counted, and between two readings of a contact that flaps
	calmWindows     = 10          // after so many windows in a row with at most max changes it flaps no more
	windowsPerCount = 60          // windows between two counts: an hour
)

// flapping limits the readings of a contact that flaps: one with more than max readings in a
// minute, or one that is not quiet for a whole minute. Then there is at most one reading a
// minute, with the level at that time. There is an event at the start, each hour and at the
// end, with the number of changes in between: the level is never older than a minute, and
// nothing is lost silently.
type flapping struct {
	max    int    // readings in a minute; 0: any number
	recent []mark // the readings of the last minute

	on      bool
	over    time.Time // when the current minute ends
	calm    int       // minutes in a row with at most max changes
	total   int       // minutes since it began to flap
	changes int       // in the current minute
	begun   mark      // since when the sums count
	sums    sums

	reported bool      // there was a reading
	last     Change    // the last reading
	lastAt   time.Time // when last was reported
	held     Change    // the current level, if holds is set
	holds    bool      // held differs from last and was not reported
}

// A mark is a moment, and how many edges had not counted until then.
type mark struct {
	at        time.Time
	swallowed uint64
}

// sums count since the last event.
type sums struct{ changes, readings int }

// A Notice is a change of the contact, or an event if Event is not nil. For an event only
// Change.Since has a meaning: its time.
type Notice struct {
	Change
	Event map[string]any
}

// pass takes a change at the time that it counts.
func (f *flapping) pass(c Change, now mark) []Notice {
	if !f.on {
		f.forget(now.at)
		if f.max == 0 || len(f.recent) < f.max {
			f.recent = append(f.recent, now)
			return []Notice{f.report(c, now.at)}
		}
		notices := f.begin(f.recent[0], now, 1)
		f.hold(c)
		return notices
	}
	f.sums.changes++
	f.changes++
	f.hold(c)
	return f.release(now.at)
}

// restless notes that the contact was not quiet for a whole minute, which is flapping.
func (f *flapping) restless(since, now mark) []Notice {
	if f.on || f.max == 0 {
		return nil
	}
	f.forget(now.at)
	return f.begin(since, now, 0)
}

// begin starts flapping, with that many changes beyond the recent readings.
func (f *flapping) begin(since, now mark, beyond int) []Notice {
	f.sums = sums{len(f.recent) + beyond, len(f.recent)}
	f.begun, f.recent = since, nil
	event := f.count("started", now)
	f.on, f.over, f.calm, f.total, f.changes = true, now.at.Add(flapWindow), 0, 0, 0
	return []Notice{event}
}

// due returns when [flapping.tick] has something to do; zero: never.
func (f *flapping) due() time.Time {
	if next := f.lastAt.Add(flapWindow); f.on && f.holds && next.Before(f.over) {
		return next
	}
	if f.on {
		return f.over
	}
	return time.Time{}
}

// tick does what is due at a time. restless says whether the contact was not quiet for a
// whole minute.
func (f *flapping) tick(now mark, restless bool) []Notice {
	if !f.on {
		return nil
	}
	notices := f.release(now.at)
	if f.over.After(now.at) {
		return notices
	}
	f.total++
	f.calm++
	if f.changes > f.max || restless {
		f.calm = 0
	}
	f.over, f.changes = f.over.Add(flapWindow), 0
	switch {
	case f.calm == calmWindows:
		f.on = false
		if f.holds { // less than a minute after the last
			notices = append(notices, f.report(f.held, now.at))
			f.sums.readings++
		}
		notices = append(notices, f.count("ended", now))
	case f.total%windowsPerCount == 0:
		notices = append(notices, f.count("continues", now))
	}
	return notices
}

// hold remembers a change, unless it leads back to the level that was reported last.
func (f *flapping) hold(c Change) { f.held, f.holds = c, !f.reported || c.On != f.last.On }

// release reports the held level if the last reading was at least a minute ago.
func (f *flapping) release(at time.Time) []Notice {
	if !f.holds || f.reported && at.Sub(f.lastAt) < flapWindow {
		return nil
	}
	f.sums.readings++
	return []Notice{f.report(f.held, at)}
}

// report lets a change become a reading.
func (f *flapping) report(c Change, at time.Time) Notice {
	c.Since = latest(c.Since, f.last.Since) // readings of a stream are in order of time
	f.reported, f.last, f.lastAt, f.holds = true, c, at, false
	return Notice{Change: c}
}

// count returns an event with the sums, and resets them.
func (f *flapping) count(phase string, now mark) Notice {
	event := map[string]any{
		"phase":     phase,
		"window":    clock.FormatDuration(now.at.Sub(f.begun.at).Round(time.Second)),
		"changes":   f.sums.changes,                    // that would have been readings
		"readings":  f.sums.readings,                   // that there were
		"swallowed": now.swallowed - f.begun.swallowed, // edges that were no changes: bounces
	}
	f.begun, f.sums = now, sums{}
	return Notice{Change{Since: now.at}, event}
}

// forget drops the readings that are older than a minute.
func (f *flapping) forget(at time.Time) {
	old := 0
	for old < len(f.recent) && at.Sub(f.recent[old].at) >= flapWindow {
		old++
	}
	f.recent = append(f.recent[:0], f.recent[old:]...)
}
