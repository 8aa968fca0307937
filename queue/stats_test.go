package queue

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// age is how long ago the oldest reading that waits was measured, by Stats.
func (h *harness) age() time.Duration {
	at := h.Stats().Oldest
	return time.Duration(stamp().Unix-at.Unix) * time.Millisecond
}

// TestOldestIsKnownWithoutASender: during an outage no block is read.
func TestOldestIsKnownWithoutASender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := queuePath(t)
		h := start(t, path)
		began := time.Now()
		for seq := range uint64(3000) {
			h.Put(routine(seq + 1))
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(6 * time.Second)
		if h.lanes[sensors.Routine].disk.readings == 0 {
			t.Fatal("nothing is in blocks: the test shows nothing")
		}
		if got, want := h.age(), time.Since(began); got != want {
			t.Errorf("the oldest is %v old, want %v", got, want)
		}
		h.end()

		h = start(t, path)
		defer h.end()
		if got, want := h.age(), time.Since(began); got != want {
			t.Errorf("after a start the oldest is %v old, want %v", got, want)
		}
		items, err := h.next(t.Context(), 700)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Ack(items); err != nil {
			t.Fatal(err)
		}
		last := items[len(items)-1].Seq - 1
		want := time.Since(began) - time.Duration(last)*20*time.Millisecond
		if got := h.age(); got != want && got != want-20*time.Millisecond {
			t.Errorf("with %d acknowledged the oldest is %v old, want %v", len(items), got, want)
		}
		h.opt.MaxSize = 1000 // which drops most of the blocks
		for seq := range uint64(600) {
			h.Put(routine(3001 + seq))
		}
		time.Sleep(6 * time.Second)
		if got := h.age(); got >= want-20*time.Second {
			t.Errorf("after the oldest were dropped the oldest is %v old: they were %v", got, want)
		}
		for _, p := range []sensors.Priority{sensors.Alarm, sensors.Routine} {
			h.Ack(h.lanes[p].peek(nil, 9999, 0))
		}
		h.all(t)
		if at := h.Stats().Oldest; at.Unix != 0 {
			t.Errorf("nothing waits, and the oldest is of %d", at.Unix)
		}
	})
}

func TestRecentEventsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		for n := range maxRecent + 5 {
			h.Report(sensors.Event{Name: "fault", At: stamp(), Details: fmt.Appendf(nil, `{"n":%d}`, n)})
		}
		h.Declare(Gap{Stream: "room", Boot: h.Boot(), From: 3, To: 5, Count: 3, Why: Unproven})
		h.all(t)
		got := h.Recent()
		if len(got) != maxRecent || got[0].Details != `{"n":6}` {
			t.Fatalf("%d events, the first is %+v", len(got), got[0])
		}
		last := got[len(got)-1]
		if last.Event != gapEvent || !strings.Contains(last.Details, `"from":3,"to":5`) {
			t.Errorf("the last event is %+v, want the gap", last)
		}
		if n := h.Stats().Missing; n != 3 {
			t.Errorf("%d readings are missing, want 3", n)
		}
	})
}
