package queue

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWriterReportsProgress: over an hour with and without something to
// write, what it says next comes in the time that it named.
func TestWriterReportsProgress(t *testing.T) {
	path := queuePath(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var due time.Time
		calls, late := 0, 0
		h := startWith(t, Options{Path: path, MaxSize: 1 << 20, SyncEvery: 5 * time.Second,
			Progress: func(within time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				if calls++; calls > 1 && time.Now().After(due) {
					late++
				}
				due = time.Now().Add(within)
			}})
		for seq := range 30 {
			h.Put(routine(uint64(seq + 1)))
			time.Sleep(time.Minute)
		}
		time.Sleep(30 * time.Minute)
		h.end()
		mu.Lock()
		defer mu.Unlock()
		if late > 0 || calls < 60 {
			t.Errorf("of %d calls %d came late", calls, late)
		}
	})
}
