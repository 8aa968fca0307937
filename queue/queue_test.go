package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// a harness opens a queue and runs it.
type harness struct {
	*Queue
	path string
	stop context.CancelFunc
	done chan struct{}
}

func start(t testing.TB, path string) *harness {
	t.Helper()
	q, err := Open(Options{Path: path, MaxSize: 1 << 20, SyncEvery: 5 * time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{Queue: q, path: path, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { q.Run(ctx); close(h.done) }()
	return h
}

// end stops the queue in order; kill drops it as SIGKILL does.
func (h *harness) end()  { h.stop(); <-h.done; h.Close() }
func (h *harness) kill() { h.stop(); <-h.done; h.file.close() }

func queuePath(t testing.TB) string { return filepath.Join(t.TempDir(), "queue.db") }

func routine(seq uint64) sensors.Reading {
	return sensors.Reading{Stream: "room", Seq: seq, Value: float64(seq) / 100, Unit: "%", At: sensors.TrustAlways.Now()}
}

func alarm(seq uint64) sensors.Reading {
	return sensors.Reading{Stream: "door", Seq: seq, Value: 1, State: "open", Priority: sensors.Alarm, At: sensors.TrustAlways.Now()}
}

// all returns every item that waits, and acknowledges them.
func (h *harness) all(t testing.TB) []Item {
	t.Helper()
	var all []Item
	for h.Stats().Backlog > 0 {
		items, err := h.Next(context.Background(), 7)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Ack(items); err != nil {
			t.Fatal(err)
		}
		all = append(all, items...)
	}
	return all
}

func names(items []Item) (s []string) {
	for _, it := range items {
		s = append(s, fmt.Sprint(it.Stream, it.Seq))
	}
	return s
}

func TestHealthyLinkNeverTouchesDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		for seq := range uint64(1000) {
			h.Put(routine(seq + 1))
			items, err := h.Next(t.Context(), 20)
			if err != nil || len(items) != 1 {
				t.Fatalf("got %d items, %v", len(items), err)
			}
			h.Ack(items)
			time.Sleep(100 * time.Millisecond)
		}
		if n := h.Stats().Commits; n != 0 {
			t.Errorf("%d commits for readings that were acknowledged at once", n)
		}
	})
}

func TestRoutineReadingIsOnDiskWithinSyncEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		for seq := range uint64(300) {
			h.Put(routine(seq + 1))
			time.Sleep(100 * time.Millisecond)
		}
		if n := h.Stats().Commits; n < 5 || n > 7 {
			t.Errorf("%d commits in 30 s with one every 5 s at most", n)
		}
		h.kill()
		h = start(t, h.path)
		defer h.end()
		got := h.all(t)
		if len(got) < 250 {
			t.Errorf("%d of 300 readings after the kill, want all but the last 5 s", len(got))
		}
		for i, it := range got {
			if it.Seq != uint64(i+1) {
				t.Fatalf("reading %d has seq %d", i, it.Seq)
			}
		}
	})
}

func TestAlarmIsOnDiskWhenPutReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.Put(routine(1))
		h.Put(alarm(1))
		if s := h.Stats(); s.Commits != 1 || s.Memory != 1 {
			t.Errorf("%d commits, %d in memory; want 1 commit and the routine reading in memory", s.Commits, s.Memory)
		}
		h.kill()
		h = start(t, h.path)
		defer h.end()
		if got := names(h.all(t)); len(got) != 1 || got[0] != "door1" {
			t.Errorf("after the kill: %v, want door1", got)
		}
	})
}

func TestAlarmOvertakesBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		for seq := range uint64(50) {
			h.Put(routine(seq + 1))
			time.Sleep(time.Second)
		}
		for seq := range uint64(3) {
			h.Put(alarm(seq + 1)) // each with a commit and so a block of its own
		}
		items, err := h.Next(t.Context(), 5)
		if err != nil || fmt.Sprint(names(items)) != "[door1 door2 door3 room1 room2]" {
			t.Errorf("next is %v, %v; want the alarms first", names(items), err)
		}
	})
}

func TestNextRepeatsUntilAck(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	for seq := range uint64(5) {
		h.Put(routine(seq + 1))
	}
	first, _ := h.Next(t.Context(), 2)
	again, _ := h.Next(t.Context(), 2)
	if fmt.Sprint(names(first)) != "[room1 room2]" || fmt.Sprint(names(again)) != "[room1 room2]" {
		t.Errorf("got %v then %v", names(first), names(again))
	}
	h.Ack(first)
	if rest := names(h.all(t)); fmt.Sprint(rest) != "[room3 room4 room5]" {
		t.Errorf("after the ack: %v", rest)
	}
}

func TestReadingsKeepTheirTimeAndBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		before := routine(1)
		h.Put(before)
		time.Sleep(6 * time.Second)
		items, err := h.Next(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if age, known := items[0].At.Age(); !known || age != 6*time.Second {
			t.Errorf("age of a reading from disk is %v, %v; want 6 s", age, known)
		}
		boot := h.Boot()
		h.end()

		h = start(t, h.path)
		defer h.end()
		items, err = h.Next(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		it := items[0]
		if _, known := it.At.Age(); known {
			t.Error("the age of a reading of an earlier start cannot be known")
		}
		if it.Boot != boot || h.Boot() == boot {
			t.Errorf("boot %s, want %s; and this start is %s", it.Boot, boot, h.Boot())
		}
		before.At.Taken = time.Time{}
		if it.Reading != before {
			t.Errorf("got  %+v\nwant %+v", it.Reading, before)
		}
	})
}

func TestFullQueueDropsOldestRoutineFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		h.opt.MaxSize = 4_000
		h.Put(alarm(1))
		for seq := range uint64(4000) {
			h.Put(routine(seq + 1))
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		dropped := h.Stats().Dropped
		got := h.all(t)
		if got[0].Stream != "door" {
			t.Errorf("the alarm went before routine readings: %v", names(got[:1]))
		}
		if dropped == 0 || len(got)+int(dropped) != 4001 {
			t.Errorf("%d left and %d dropped of 4001", len(got), dropped)
		}
		if last := got[len(got)-1]; last.Seq != 4000 {
			t.Errorf("the newest is %d, want 4000", last.Seq)
		}
	})
}

func TestDrainedBacklogLeavesTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		for seq := range uint64(100) {
			h.Put(routine(seq + 1))
			time.Sleep(time.Second)
		}
		h.all(t)
		time.Sleep(6 * time.Second) // the cursor follows within SyncEvery
		h.kill()
		h = start(t, h.path)
		defer h.end()
		if n := h.Stats().Backlog; n != 0 {
			t.Errorf("%d readings came back after they were acknowledged", n)
		}
	})
}

func TestFailingDiskKeepsReadingsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.file.db.Close() // every commit fails from now on
		for seq := range uint64(mostInMemory + 100) {
			h.Put(routine(seq + 1))
		}
		h.Put(alarm(1))
		time.Sleep(time.Minute + time.Second) // not in step with the attempts
		s := h.Stats()
		if s.Memory != mostInMemory || s.Dropped != 101 {
			t.Errorf("%d in memory and %d dropped, want %d and 101", s.Memory, s.Dropped, mostInMemory)
		}
		items, err := h.Next(t.Context(), 2)
		if err != nil || fmt.Sprint(names(items)) != "[door1 room102]" {
			t.Errorf("next is %v, %v", names(items), err)
		}
		db, err := openDB(h.path, false)
		if err != nil {
			t.Fatal(err)
		}
		h.mu.Lock() // between two commits
		h.file.db = db
		h.mu.Unlock()
		time.Sleep(10 * time.Second)
		if s := h.Stats(); s.Memory != 0 || s.Backlog != mostInMemory {
			t.Errorf("after the disk came back: %d in memory, %d waiting", s.Memory, s.Backlog)
		}
		h.end()
	})
}

func TestDamagedFileIsMovedAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"random":    func([]byte) []byte { return []byte("this is no queue at all, but it is a file of ours") },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"heads":     func(b []byte) []byte { clear(b[:8192]); return b },
		"tail":      func(b []byte) []byte { clear(b[8192:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, queuePath(t))
			for seq := range uint64(2000) {
				h.Put(routine(seq + 1))
			}
			h.end()
			b, err := os.ReadFile(h.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(h.path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			h = start(t, h.path)
			defer h.end()
			if aside, _ := filepath.Glob(h.path + ".damaged-*"); len(aside) != 1 {
				t.Errorf("aside: %v", aside)
			}
			h.Put(alarm(1))
			if got := names(h.all(t)); fmt.Sprint(got) != "[door1]" {
				t.Errorf("the new queue returns %v", got)
			}
		})
	}
}

func TestDamagedBlockIsSkippedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		for seq := range uint64(30) {
			h.Put(routine(seq + 1))
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		damageFirstBlock(t, h.Queue)
		got := h.all(t)
		if len(got) == 0 || got[0].Seq == 1 || got[len(got)-1].Seq != 30 {
			t.Fatalf("got %v", names(got))
		}
		if n := h.Stats().Dropped; int(n)+len(got) != 30 {
			t.Errorf("%d dropped and %d returned of 30", n, len(got))
		}
		h.end()
	})
}

func damageFirstBlock(t *testing.T, q *Queue) {
	tx, err := q.file.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	b := tx.Bucket(bucketLanes[sensors.Routine])
	k, v := b.Cursor().First()
	v = append([]byte(nil), v...)
	v[len(v)-1] ^= 1
	if err := errors.Join(b.Put(k, v), tx.Commit()); err != nil {
		t.Fatal(err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	_, err := Open(h.opt, slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
}

func TestFolderInPlaceOfTheFileIsRefused(t *testing.T) {
	_, err := Open(Options{Path: t.TempDir(), MaxSize: 1, SyncEvery: time.Second}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Error("a folder was taken for a queue")
	}
}

func TestCloseKeepsWhatIsInMemory(t *testing.T) {
	h := start(t, queuePath(t))
	h.Put(routine(1))
	h.end()
	h = start(t, h.path)
	defer h.end()
	if got := names(h.all(t)); fmt.Sprint(got) != "[room1]" {
		t.Errorf("got %v", got)
	}
}
