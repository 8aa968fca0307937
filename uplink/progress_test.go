package uplink

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestProgressIsReportedDuringOutages: through connections and outages, the link says within the
// time that it named that it goes on; and whether it is connected.
func TestProgressIsReportedDuringOutages(t *testing.T) {
	var mu sync.Mutex
	var due time.Time
	var link *Link
	var seen []bool // whether it is connected, at each change
	calls, late := 0, 0
	up(t, func(l *Link, br *broker, bl *backlog) {
		mu.Lock()
		link = l
		mu.Unlock()
		time.Sleep(10 * time.Minute)
		if !l.Status().Connected {
			t.Error("not connected to a broker that acknowledges")
		}
		mu.Lock()
		seen = append(seen, true) // it may have been before link was set
		mu.Unlock()
		br.set(func() { br.refuse = errors.New("no route to host") })
		br.cut()
		time.Sleep(10 * time.Minute)
		if l.Status().Connected {
			t.Error("connected without a network")
		}
		br.set(func() { br.refuse = nil })
		time.Sleep(10 * time.Minute)
	}, func(opt *Options) {
		opt.Progress = func(within time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls > 1 && time.Now().After(due) {
				late++
			}
			due = time.Now().Add(within)
		}
		opt.Changed = func() {
			mu.Lock()
			defer mu.Unlock()
			if link != nil {
				seen = append(seen, link.Status().Connected)
			}
		}
	})
	if late > 0 || calls < 30 {
		t.Errorf("of %d calls %d came late", calls, late)
	}
	if got := slices.Compact(seen); !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("connected: %v, want once, then an outage, then again until the end", got)
	}
}
