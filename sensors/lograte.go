package sensors

import (
	"log/slog"
	"sync"
	"time"
)

// What comes again and again is in the log so often in an hour; then it is counted.
const (
	maxPerHour = 3
	logSpan    = time.Hour
)

// A logRate limits what the log says of one thing. Once an hour had more than
// maxPerHour of it, it is counted, until an hour has no more than that.
type logRate struct {
	began    time.Time // of the hour under way; zero: nothing has happened
	count    int       // in it
	counting bool
}

// allow counts one. It reports whether the log is to have it, and whether it is
// the first that the log does not have.
func (r *logRate) allow(now time.Time) (say, first bool) {
	if r.began.IsZero() {
		r.began = now
	}
	r.count++
	if r.counting {
		return false, false
	}
	r.counting = r.count > maxPerHour
	return !r.counting, r.counting
}

// hour ends the hour if it is over, or in any case. It returns how many there
// were, if they were counted and not said.
func (r *logRate) hour(now time.Time, force bool) (counted int) {
	if r.began.IsZero() || !force && now.Sub(r.began) < logSpan {
		return 0
	}
	if r.counting {
		counted = r.count
	}
	*r = logRate{counting: r.count > maxPerHour}
	if r.counting {
		r.began = now
	}
	return counted
}

// A failureLog tells the log that something fails, and that it is back. There is none
// of what has never failed: nil has nothing to tell.
type failureLog struct {
	log        *slog.Logger
	what, back string // "sensor", "sensor answers again"
	rate       logRate
	logged     bool // the failure under way is in the log
	last       error
}

// fails logs a failure, or counts it if there were too many in the last hour.
func (f *failureLog) fails(err error, now time.Time) {
	f.hour(now, false)
	f.last = err
	say, first := f.rate.allow(now)
	switch f.logged = say; {
	case say:
		f.log.Warn(f.what+" fails", "err", err)
	case first:
		f.log.Warn(f.what+" fails again and again: it is counted from here on", "err", err)
	}
}

// ends logs the end of a failure that was logged.
func (f *failureLog) ends() {
	if f == nil {
		return
	}
	if f.logged {
		f.log.Info(f.back)
	}
	f.logged = false
}

// isLogged reports whether the failure under way is in the log.
func (f *failureLog) isLogged() bool { return f != nil && f.logged }

// hour tells how often it has failed in an hour of which the log was spared.
func (f *failureLog) hour(now time.Time, force bool) {
	if f == nil {
		return
	}
	began := f.rate.began
	if n := f.rate.hour(now, force); n > 0 {
		f.log.Warn(f.what+" has failed", "times", n, "in", now.Sub(began).Round(time.Second), "last", f.last)
	}
}

// eventLog tells the log of events. A driver may notice one while the sampler
// goes on, in a call that was left behind.
type eventLog struct {
	mu    sync.Mutex
	rates map[string]*logRate // by the event and what it is of
}

// allow is [logRate.allow] of one event.
func (e *eventLog) allow(key string, now time.Time) (say, first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rates[key] == nil {
		if e.rates == nil {
			e.rates = map[string]*logRate{}
		}
		e.rates[key] = &logRate{}
	}
	return e.rates[key].allow(now)
}

// hour tells how often each event happened of which the log was spared.
func (e *eventLog) hour(log func() *slog.Logger, now time.Time, force bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, r := range e.rates {
		began := r.began
		if n := r.hour(now, force); n > 0 {
			log().Info("events", "event", key, "times", n, "in", now.Sub(began).Round(time.Second))
		}
	}
}
