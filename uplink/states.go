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

// firstReadingTimeout is how long a stream may have no reading after the start,
// before its state says so; three times its interval, if that is longer.
const firstReadingTimeout = 30 * time.Second

// states are the latest readings, one for each stream.
type states struct {
	changed chan struct{} // holds one token: there is news

	mu     sync.Mutex
	latest map[string]*state // by stream
	order  []*state          // of latest, in the order of their first reading
	fresh  []*state          // of latest, those whose reading was not taken yet
}

// A state is the latest reading of a stream.
type state struct {
	sensors.Reading
	isFresh bool // it is in fresh
}

// observe makes a reading the state of its stream.
func (s *states) observe(r sensors.Reading) {
	s.mu.Lock()
	s.setLocked(r)
	s.mu.Unlock()
	s.tell()
}

// tell puts a token into changed.
func (s *states) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// setLocked sets the latest reading of a stream, which is to be sent. The caller
// holds mu.
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

// refresh makes every state news, for the start of a session.
func (s *states) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = append(s.fresh[:0], s.order...)
	for _, st := range s.fresh {
		st.isFresh = true
	}
}

// next takes the oldest news, but for streams that have to wait.
func (s *states) next(wait, mutedStates map[string]bool) (r sensors.Reading, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range s.fresh {
		if wait[st.Stream] || mutedStates[st.Stream] {
			continue
		}
		if st.isFresh = false; i == 0 {
			s.fresh = s.fresh[1:] // mostly: the rest need not move
		} else {
			s.fresh = slices.Delete(s.fresh, i, i+1)
		}
		return st.Reading, true
	}
	return r, false
}

// of is the latest reading of a stream.
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

// failing names the streams whose latest reading is a failure, in the order of
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

// watchSilence gives each stream that has no reading in time a state that says
// so. The broker may hold a state from before the start, and an old "closed"
// must not stand beside "online".
func (s *states) watchSilence(ctx context.Context, streams []sensors.Stream, keeper *clock.Timekeeper) {
	start := time.Now()
	inTurn := make([]*sensors.Stream, len(streams)) // a thousand need no copies
	for i := range streams {
		inTurn[i] = &streams[i]
	}
	slices.SortFunc(inTurn, func(a, b *sensors.Stream) int { return cmp.Compare(timeoutFor(a), timeoutFor(b)) })
	for _, st := range inTurn {
		clock.Sleep(ctx, time.Until(start.Add(timeoutFor(st))))
		if ctx.Err() != nil {
			return
		}
		s.silent(st, keeper.Now())
	}
}

// timeoutFor is firstReadingTimeout for one stream.
func timeoutFor(st *sensors.Stream) time.Duration { return max(firstReadingTimeout, 3*st.Every) }

// silent makes the absence of a reading the state, unless there is one by now.
func (s *states) silent(st *sensors.Stream, at clock.Stamp) {
	s.mu.Lock()
	if _, known := s.latest[st.Name]; !known {
		s.setLocked(sensors.Reading{Stream: st.Name, Unit: st.Unit, Priority: st.Priority, At: at,
			Err: "no reading since start"})
	}
	s.mu.Unlock()
	s.tell()
}
