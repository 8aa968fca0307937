package sensors

import (
	"log/slog"
	"sync"
	"time"
)

// A message that repeats is logged at most maxPerHour times an hour; then it is counted.
const (
	maxPerHour = 3
	logSpan    = time.Hour
)

// A logRate limits how often one message is logged. After an hour with more than
// maxPerHour of them it only counts, until an hour has at most maxPerHour.
type logRate struct {
	began    time.Time // of the current hour; zero: nothing has happened
	count    int       // in the current hour
	counting bool      // messages are counted, not logged
}

// allow counts one message. say is true if it may be logged; first is true if it is the
// first one that may not.
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

// endHour ends the current hour if it is over, or if force is set. It returns how many
// messages the hour had if they were counted instead of logged, else 0.
func (r *logRate) endHour(now time.Time, force bool) (counted int) {
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

// A failureLog logs when something begins to fail and when it works again. A nil
// failureLog belongs to something that has never failed, and logs nothing.
type failureLog struct {
	log        *slog.Logger
	what, back string // "sensor", "sensor answers again"
	rate       logRate
	logged     bool // the current failure was logged
	last       error
}

// begin logs the begin of a failure, or counts it if there were too many in the last hour.
func (f *failureLog) begin(err error, now time.Time) {
	f.logCount(now, false)
	f.last = err
	say, first := f.rate.allow(now)
	switch f.logged = say; {
	case say:
		f.log.Warn(f.what+" fails", "err", err)
	case first:
		f.log.Warn(f.what+" fails again and again: it is counted from here on", "err", err)
	}
}

// end logs the end of a failure whose begin was logged.
func (f *failureLog) end() {
	if f == nil {
		return
	}
	if f.logged {
		f.log.Info(f.back)
	}
	f.logged = false
}

// isLogged reports whether the current failure was logged.
func (f *failureLog) isLogged() bool { return f != nil && f.logged }

// logCount logs the number of failures in the last hour that were counted, if the hour is
// over or force is set.
func (f *failureLog) logCount(now time.Time, force bool) {
	if f == nil {
		return
	}
	began := f.rate.began
	if n := f.rate.endHour(now, force); n > 0 {
		f.log.Warn(f.what+" has failed", "times", n, "in", now.Sub(began).Round(time.Second), "last", f.last)
	}
}

// eventLog limits how often each event is logged. It is safe for concurrent use: a driver
// may report an event while the sampler runs on.
type eventLog struct {
	mu    sync.Mutex
	rates map[string]*logRate // by the event's name and its stream; guarded by mu
}

// allow is [logRate.allow] for one event.
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

// logCounts logs how often each event happened in the last hour that was counted, if the
// hour is over or force is set.
func (e *eventLog) logCounts(log func() *slog.Logger, now time.Time, force bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, r := range e.rates {
		began := r.began
		if n := r.endHour(now, force); n > 0 {
			log().Info("events", "event", key, "times", n, "in", now.Sub(began).Round(time.Second))
		}
	}
}
