package rules

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// A saver writes the state file. It writes only the latest state, so that a slow disk does
// not fall behind.
type saver struct {
	store *arming.Store
	tell  func(error) // once when it fails, and with nil when it works again
	wake  chan struct{}

	mu     sync.Mutex
	latest *arming.Saved // to be written; nil: nothing
}

// put makes the saver write a state soon. It does not wait for the disk.
func (s *saver) put(saved arming.Saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = &saved
	notify(s.wake)
}

// take removes and returns the state to be written; nil: there is none.
func (s *saver) take() *arming.Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := s.latest
	s.latest = nil
	return saved
}

// putBack returns a state that could not be written, unless there is a newer one.
func (s *saver) putBack(saved *arming.Saved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil {
		s.latest = saved
	}
}

// The pause between two attempts to save.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
)

// run writes states until ctx is done, and then once more if the latest is not written. Nothing may
// be put after ctx is done: it would not be written.
func (s *saver) run(ctx context.Context) {
	// A full or read-only disk may be repaired, so it retries for ever, with growing pauses.
	failed, pause := false, minPause
	again := time.NewTimer(0)
	defer again.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-s.wake:
		case <-again.C:
		}
		saved := s.take()
		if saved == nil { // it was written already: a newer state came while the older was written
			continue
		}
		err := s.store.Save(*saved)
		if (err != nil) != failed {
			s.tell(err)
		}
		if failed = err != nil; failed {
			s.putBack(saved)
			again.Reset(pause)
			pause = min(2*pause, maxPause)
		} else {
			pause = minPause
		}
	}
}
