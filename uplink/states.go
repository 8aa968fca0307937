package uplink

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// firstReadingTimeout is how long after the start a stream may have no reading before that
// becomes its state. For a stream with a long interval it is three times the interval.
const firstReadingTimeout = 30 * time.Second

// states holds the latest reading of each stream. Its methods may be called from any
// goroutine.
type states struct {
	changed chan struct{} // has room for one token: a state is fresh

	mu     sync.Mutex        // guards the fields below
	latest map[string]*state // by stream
	order  []*state          // the same states in the order of their first reading
	fresh  []*state          // the states that next has not returned yet
}

// A state is the latest reading of a stream.
type state struct {
	sensors.Reading
	isFresh bool // it is in states.fresh
}

// observe makes a reading the state of its stream.
func (s *states) observe(r sensors.Reading) {
	s.mu.Lock()
	s.setLocked(r)
	s.mu.Unlock()
	s.signal()
}

// signal puts a token into changed.
func (s *states) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// setLocked sets the latest reading of a stream and marks it as fresh. The caller holds mu.
func (s *states) setLocked(r sensors.Reading) {
	st := s.latest[r.Stream]
	if st == nil {
		st = &state{}
		if s.latest == nil {
			s.latest = map[string]*state{}
		}
		s.latest[r.Stream], s.order = st, append(s.order, st)
	}
	st.Reading = r
	if !st.isFresh {
		st.isFresh, s.fresh = true, append(s.fresh, st)
	}
}

// refresh marks every state as fresh, so that all are sent (again).
func (s *states) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = append(s.fresh[:0], s.order...)
	for _, st := range s.fresh {
		st.isFresh = true
	}
}

// next returns the oldest fresh state, except of streams in one of the two sets. The state
// is not fresh any more.
func (s *states) next(wait, mutedStates map[string]bool) (r sensors.Reading, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range s.fresh {
		if wait[st.Stream] || mutedStates[st.Stream] {
			continue
		}
		if st.isFresh = false; i == 0 {
			s.fresh = s.fresh[1:] // the usual case: no copying
		} else {
			s.fresh = slices.Delete(s.fresh, i, i+1)
		}
		return st.Reading, true
	}
	return r, false
}

// of returns the latest reading of a stream.
func (s *states) of(stream string) (r sensors.Reading, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.latest[stream]; st != nil {
		return st.Reading, true
	}
	return r, false
}

// all returns the latest readings, in the order in which the streams had their first one.
func (s *states) all() []sensors.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]sensors.Reading, len(s.order))
	for i, st := range s.order {
		all[i] = st.Reading
	}
	return all
}

// failing returns the names of streams whose latest reading is a failure, in the order of
// their first reading.
func (s *states) failing() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{}
	for _, st := range s.order {
		if st.Err != "" {
			names = append(names, st.Stream)
		}
	}
	return names
}

// watchSilence sets a state with an error for each stream that has no reading before its
// timeout. It replaces a retained state of an earlier start: an old "closed" would look
// valid while the agent is online. It returns after the last timeout or with ctx.
func (s *states) watchSilence(ctx context.Context, streams []sensors.Stream, keeper *clock.Timekeeper) {
	start := time.Now()
	byTimeout := make([]*sensors.Stream, len(streams)) // pointers: there may be a thousand
	for i := range streams {
		byTimeout[i] = &streams[i]
	}
	slices.SortFunc(byTimeout, func(a, b *sensors.Stream) int { return cmp.Compare(timeoutFor(a), timeoutFor(b)) })
	for _, st := range byTimeout {
		clock.Sleep(ctx, time.Until(start.Add(timeoutFor(st))))
		if ctx.Err() != nil {
			return
		}
		s.setSilent(st, keeper.Now())
	}
}

// timeoutFor returns the timeout of one stream, see firstReadingTimeout.
func timeoutFor(st *sensors.Stream) time.Duration { return max(firstReadingTimeout, 3*st.Every) }

// setSilent sets the error state of a stream, unless it has a reading by now.
func (s *states) setSilent(st *sensors.Stream, at clock.Stamp) {
	s.mu.Lock()
	if _, known := s.latest[st.Name]; !known {
		s.setLocked(sensors.Reading{Stream: st.Name, Unit: st.Unit, Priority: st.Priority, At: at,
			Err: "no reading since start"})
	}
	s.mu.Unlock()
	s.signal()
}
