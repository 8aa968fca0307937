package queue

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const week = 7 * 24 * 3600 * 1000 // ms

// wrongly is a reading whose time nobody trusts, of a machine that woke up
// at last week's date.
func wrongly(clock *clock.Timekeeper, seq uint64) sensors.Reading {
	r := routine(seq)
	r.At = clock.Now()
	r.At.Unix -= week
	return r
}

// TestReadingsOnDiskGetTheirTrueTime samples for ten minutes without the time,
// with a start of the agent in between; then the time is known.
func TestReadingsOnDiskGetTheirTrueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := queuePath(t)
		before, after := clocks()
		var truth []int64
		for range 2 {
			h := startAt(t, path, before)
			for seq := range uint64(300) {
				h.Put(wrongly(h.opt.Clock, seq+1))
				truth = append(truth, time.Now().UnixMilli())
				time.Sleep(time.Second)
			}
			items, err := h.next(t.Context(), 1)
			if err != nil || items[0].At.Clock != clock.Unsynced || items[0].At.Unix != truth[0]-week {
				t.Errorf("before the time is known: %+v, %v", items[0].At, err)
			}
			h.end()
		}
		h := startAt(t, path, after)
		after.Now()
		checkTimes(t, h.all(t), truth)
		h.end()
	})
}

// TestTrueTimesSurviveTheBoot: the time became known while the broker was away,
// and then the power went: what the file knows is enough.
func TestTrueTimesSurviveTheBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := queuePath(t)
		unknowing, knowing := clocks()
		h := startAt(t, path, knowing)
		var truth []int64
		for seq := range uint64(300) {
			h.Put(wrongly(unknowing, seq+1))
			truth = append(truth, time.Now().UnixMilli())
			time.Sleep(time.Second)
			h.opt.Clock.Now()
		}
		time.Sleep(10 * time.Second)
		h.kill()
		var items []Item
		if _, err := Inspect(path, func(it Item) error { items = append(items, it); return nil }); err != nil {
			t.Fatal(err)
		}
		checkTimes(t, items, truth)
	})
}

// TestClockChangeAloneWritesNothing: what the clock learns reaches the disk with what
// waits there, and not for itself.
func TestClockChangeAloneWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, clock := clocks()
		h := startAt(t, queuePath(t), clock)
		clock.Now()
		time.Sleep(time.Hour)
		if n := h.Stats().Commits; n != 0 {
			t.Errorf("%d commits", n)
		}
		h.Put(routine(1))
		time.Sleep(10 * time.Second)
		if n := h.Stats().Commits; n != 1 || h.storage.timelineChanged(h.opt.Clock) {
			t.Errorf("%d commits, want one that has the clock in it", n)
		}
		h.end()
	})
}

func checkTimes(t *testing.T, items []Item, truth []int64) {
	t.Helper()
	if len(items) != len(truth) {
		t.Fatalf("%d readings, want %d", len(items), len(truth))
	}
	before := int64(0)
	for i, it := range items {
		if d := it.At.Unix - truth[i]; d < -1000 || d > 1000 || it.At.Clock != clock.Estimated || it.At.Unix <= before {
			t.Fatalf("reading %d: %+v after %d, want %d", i, it.At, before, truth[i])
		}
		before = it.At.Unix
	}
}

// clocks are the same clock before and after somebody confirms it. They are
// made together: in a bubble each counts on from the uptime that it finds.
func clocks() (before, after *clock.Timekeeper) {
	return clock.NewTimekeeper(clock.TrustNever), clock.NewTimekeeper(clock.TrustAlways)
}

func startAt(t testing.TB, path string, clock *clock.Timekeeper) *harness {
	t.Helper()
	return startWith(t, Options{Path: path, MaxSize: 1 << 20, SyncEvery: 5 * time.Second, Clock: clock})
}

func TestDamagedClockIsForgotten(t *testing.T) {
	boots := clock.Timeline{{Kernel: "51d0c77e", Began: 1_790_000_000_000, Last: 5}}
	data := encodeClock(boots)
	if got := decodeClock(data); !slices.Equal(got, boots) {
		t.Errorf("%+v, want %+v", got, boots)
	}
	for i := range data {
		bad := slices.Clone(data)
		bad[i] ^= 0x10
		if got := decodeClock(bad); got != nil {
			t.Errorf("byte %d is wrong: %+v", i, got)
		}
	}
}

func FuzzClock(f *testing.F) {
	f.Add(encodeClock(clock.Timeline{{Kernel: "51d0c77e", Began: 1_790_000_000_000}}), int64(5), int64(7))
	f.Fuzz(func(t *testing.T, data []byte, unix, uptime int64) {
		at := clock.Stamp{Unix: unix, Uptime: time.Duration(uptime), Kernel: "51d0c77e", Clock: clock.Unsynced}
		if got := decodeClock(data).Resolve(at); got.Uptime != at.Uptime || got.Kernel != at.Kernel {
			t.Errorf("%+v from %+v", got, at)
		}
	})
}
