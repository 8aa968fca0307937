package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"pgregory.net/rapid"
)

// a harness opens a queue and runs it.
type harness struct {
	*Queue
	path string
	stop context.CancelFunc
	done chan struct{}
}

// oldest returns the oldest items that are not acknowledged, and waits for one.
func (h *harness) next(ctx context.Context, max int) ([]Item, error) {
	for {
		items, err := h.Peek(&Cursor{}, max)
		if err != nil || len(items) > 0 {
			return items, err
		}
		select {
		case <-h.Arrived():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func start(t testing.TB, path string) *harness {
	t.Helper()
	return startWith(t, Options{Path: path, MaxSize: 1 << 20, SyncEvery: 5 * time.Second})
}

func startWith(t testing.TB, opt Options) *harness {
	t.Helper()
	q, err := Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{Queue: q, path: opt.Path, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { q.Run(ctx); close(h.done) }()
	return h
}

// end stops the queue in order; kill drops it as SIGKILL does.
func (h *harness) end() { h.stop(); <-h.done; h.Close() }

func (h *harness) kill() { h.stop(); <-h.done; h.opened.file.close() }

func queuePath(t testing.TB) string { return filepath.Join(t.TempDir(), "queue.db") }

// stamp is this moment, of a kernel that booted when synctest's time begins: all
// stamps of a bubble are of one machine, whose clock does not step.
func stamp() clock.Stamp {
	booted := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	now := time.Now()
	return clock.Stamp{Unix: now.UnixMilli(), Uptime: now.Sub(booted).Truncate(time.Millisecond), Kernel: "51d0c77e"}
}

func routine(seq uint64) sensors.Reading {
	return sensors.Reading{Stream: "room", Seq: seq, Value: float64(seq) / 100, Unit: "%", At: stamp()}
}

func alarm(seq uint64) sensors.Reading {
	return sensors.Reading{Stream: "door", Seq: seq, Value: 1, State: "open", Priority: sensors.Alarm, At: stamp()}
}

// all returns every item that waits, and acknowledges them.
func (h *harness) all(t testing.TB) []Item {
	t.Helper()
	var all []Item
	for h.Stats().Backlog > 0 {
		items, err := h.next(context.Background(), 7)
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
		if it.Event != "" {
			s = append(s, it.Event)
			continue
		}
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
			items, err := h.next(t.Context(), 20)
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
		items, err := h.next(t.Context(), 5)
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
	first, _ := h.next(t.Context(), 2)
	again, _ := h.next(t.Context(), 2)
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
		before.At = h.opt.Clock.Now()
		h.Put(before)
		time.Sleep(6 * time.Second)
		items, err := h.next(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		age, known := h.opt.Clock.Age(items[0].At)
		if !known || (age-6*time.Second).Abs() > 50*time.Millisecond {
			t.Errorf("age of a reading from disk is %v, %v; want 6 s", age, known)
		}
		boot := h.Boot()
		h.end()

		h = start(t, h.path)
		defer h.end()
		items, err = h.next(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		it := items[0]
		if it.Boot != boot || h.Boot() == boot {
			t.Errorf("boot %s, want %s; and this start is %s", it.Boot, boot, h.Boot())
		}
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
		r := recorder{}
		got := r.take(h.all(t))
		if got[0].Stream != "door" {
			t.Errorf("the alarm went before routine readings: %v", names(got[:1]))
		}
		if dropped == 0 || len(got)+int(dropped) != 4001 {
			t.Errorf("%d left and %d dropped of 4001", len(got), dropped)
		}
		if last := got[len(got)-1]; last.Seq != 4000 {
			t.Errorf("the newest is %d, want 4000", last.Seq)
		}
		r.check(t, map[string]uint64{"room": 4000, "door": 1})
	})
}

// TestEveryHoleIsInAGap fills a small queue again and again while it drains
// now and then, and holds what arrives against the gaps that were declared.
func TestEveryHoleIsInAGap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, queuePath(t))
			h.opt.MaxSize = rapid.Int64Range(1000, 20_000).Draw(rt, "max_size")
			r := recorder{}
			seqs := map[string]uint64{}
			for range rapid.IntRange(1, 30).Draw(rt, "rounds") {
				for range rapid.IntRange(1, 2000).Draw(rt, "puts") {
					name := fmt.Sprint("room", rapid.IntRange(0, 2).Draw(rt, "stream"))
					seqs[name]++
					reading := routine(seqs[name])
					reading.Stream, reading.Value = name, float64(seqs[name]*7919%101)
					h.Put(reading)
					time.Sleep(20 * time.Millisecond)
				}
				for range rapid.IntRange(0, 60).Draw(rt, "takes") {
					if h.Stats().Backlog == 0 {
						break
					}
					items, err := h.next(t.Context(), 20)
					if err != nil {
						rt.Fatal(err)
					}
					r.hand(items)
					if rapid.Bool().Draw(rt, "arrives") {
						r.take(items)
						h.Ack(items)
					}
				}
			}
			r.take(h.all(t))
			r.check(rt, seqs)
			h.end()
		})
	})
}

// A recorder gets everything and compares what is missing with the gaps.
type recorder struct {
	seen   map[string]map[uint64]bool
	handed []Item // readings that may have arrived, acknowledged or not
	gaps   []Gap
}

// hand notes what was issued, and so must come.
func (r *recorder) hand(items []Item) {
	for _, it := range items {
		if it.Event == "" {
			r.handed = append(r.handed, it)
		}
	}
}

// take notes items and returns those that are readings.
func (r *recorder) take(items []Item) (readings []Item) {
	if r.seen == nil {
		r.seen = map[string]map[uint64]bool{}
	}
	for _, it := range items {
		if it.Event == "gap" {
			var g Gap
			json.Unmarshal([]byte(it.Details), &g)
			r.gaps = append(r.gaps, g)
		}
		if it.Event != "" {
			continue
		}
		if r.seen[it.Stream] == nil {
			r.seen[it.Stream] = map[uint64]bool{}
		}
		r.seen[it.Stream][it.Seq] = true
		readings = append(readings, it)
	}
	return readings
}

func (r *recorder) check(t interface{ Errorf(string, ...any) }, last map[string]uint64) {
	for stream, n := range last {
		for seq := uint64(1); seq <= n; seq++ {
			covered := slices.ContainsFunc(r.gaps, func(g Gap) bool {
				return g.Stream == stream && g.From <= seq && seq <= g.To
			})
			if !r.seen[stream][seq] && !covered {
				t.Errorf("%s %d never came and no gap says so", stream, seq)
				return
			}
		}
	}
	for _, it := range r.handed {
		if !r.seen[it.Stream][it.Seq] {
			t.Errorf("%s %d was handed out, and then lost", it.Stream, it.Seq)
			return
		}
	}
	for _, g := range r.gaps {
		missing := uint64(0)
		for seq := g.From; seq <= g.To; seq++ {
			if !r.seen[g.Stream][seq] {
				missing++
			}
		}
		if missing != g.Count {
			t.Errorf("%d numbers are missing in %+v", missing, g)
		}
	}
}

func TestMaxAgeWaitsForATrustedClock(t *testing.T) {
	for trust, want := range map[clock.Trust]bool{clock.TrustAlways: true, clock.TrustNever: false} {
		synctest.Test(t, func(t *testing.T) {
			h := startWith(t, Options{Path: queuePath(t), MaxSize: 1 << 20, SyncEvery: 5 * time.Second,
				MaxAge: 2 * time.Hour, Clock: clock.NewTimekeeper(trust)})
			defer h.end()
			for seq := range uint64(4 * 3600) {
				r := routine(seq + 1)
				r.At = h.opt.Clock.Now()
				h.Put(r)
				time.Sleep(time.Second)
			}
			r := recorder{}
			got := r.take(h.all(t))
			if dropped := len(got) < 4*3600; dropped != want {
				t.Errorf("trust %v: %d of %d readings left", trust, len(got), 4*3600)
			}
			if want && len(got) < 2*3600 {
				t.Errorf("%d readings left of those of two hours", len(got))
			}
			r.check(t, map[string]uint64{"room": 4 * 3600})
		})
	}
}

func TestThinningKeepsTheExtremes(t *testing.T) {
	r := run{}
	for i := range uint64(160) {
		it := Item{Boot: "1-00000000", number: i + 1, Reading: routine(i + 1)}
		it.Value = float64(i * 7919 % 101)
		if i == 33 {
			it.Value, it.Err = 0, "no acknowledge"
		}
		r.items = append(r.items, it)
	}
	less := thin(r)
	if n := len(less.items); n < 80 || n > 110 {
		t.Errorf("%d of 160 are left", n)
	}
	kept := map[uint64]bool{}
	for _, it := range less.items {
		kept[it.Seq] = true
	}
	if !kept[34] {
		t.Error("a failure was thinned out")
	}
	if g := less.gaps; len(g) != 1 || g[0].Count != uint64(160-len(less.items)) || g[0].Why != Thinned {
		t.Errorf("gaps %+v", g)
	}
	again, err := decode(encode(less))
	if err != nil || len(again.items) != len(less.items) || !again.thinned ||
		fmt.Sprint(again.gaps) != fmt.Sprint(less.gaps) {
		t.Errorf("%v: %d items, %v", err, len(again.items), again.gaps)
	}
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

func TestFileShrinksWhenItHasBeenEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.opt.MaxSize = 64 << 20
		seq := uint64(0)
		size := func() int64 { info, _ := os.Stat(h.path); return info.Size() }
		for size() < shrinkAbove {
			for range 5000 {
				seq++
				r := routine(seq)
				r.Value = float64(seq*7919) / 7 // takes eight bytes
				h.Put(r)
			}
			time.Sleep(5 * time.Second)
		}
		if n := len(h.all(t)); n != int(seq) {
			t.Errorf("%d of %d readings", n, seq)
		}
		time.Sleep(6 * time.Second)
		if size() > 64<<10 {
			t.Errorf("the empty file has %d bytes", size())
		}
		h.Put(alarm(1))
		h.kill()
		h = start(t, h.path)
		if got := names(h.all(t)); fmt.Sprint(got) != "[door1]" {
			t.Errorf("the new file holds %v", got)
		}
		h.end()
	})
}

func TestLongWordsMakeShortBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.opt.MaxSize = 64 << 20
		for seq := range uint64(150) {
			r := routine(seq + 1)
			r.Err = fmt.Sprint(seq, strings.Repeat("x", 8000))
			h.Put(r)
		}
		h.end()
		h = start(t, h.path)
		defer h.end()
		if n := len(h.all(t)); n != 150 {
			t.Errorf("%d of 150 readings after a restart", n)
		}
		if aside, _ := filepath.Glob(h.path + ".aside-*"); len(aside) != 0 {
			t.Errorf("the file was taken for damaged: %v", aside)
		}
	})
}

func TestWearIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		time.Sleep(23 * time.Hour)
		for seq := range uint64(10) {
			h.Put(alarm(seq + 1))
		}
		s := h.Stats()
		if s.Commits != 10 || s.Written < 10*2*4096 || s.Written > 10*4*4096 || s.CommitsToday != 10 {
			t.Errorf("ten alarms: %+v", s)
		}
		time.Sleep(2 * time.Hour)
		if s := h.Stats(); s.CommitsToday != 0 || s.WrittenToday != 0 || s.Commits != 10 {
			t.Errorf("after midnight: %+v", s)
		}
	})
}

func TestFailingDiskKeepsReadingsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		breakDisk(t, h)
		for seq := range uint64(maxInMemory + 100) {
			h.Put(routine(seq + 1))
		}
		h.Put(alarm(1))
		time.Sleep(time.Minute + time.Second) // not in step with the attempts
		s := h.Stats()
		if s.Memory != maxInMemory || s.Dropped != 102 {
			t.Errorf("%d in memory and %d dropped, want %d and 102", s.Memory, s.Dropped, maxInMemory)
		}
		items, err := h.next(t.Context(), 4)
		// either may be first
		slices.SortFunc(items[:2], func(a, b Item) int { return strings.Compare(a.Event, b.Event) })
		if err != nil || fmt.Sprint(names(items)) != "[door1 storage gap room103]" {
			t.Errorf("next is %v, %v", names(items), err)
		}
		mendDisk(t, h)
		time.Sleep(10 * time.Second)
		if s := h.Stats(); s.Memory != 0 || s.Backlog != maxInMemory+2 { // a gap, and the news that the disk works
			t.Errorf("after the disk came back: %d in memory, %d waiting", s.Memory, s.Backlog)
		}
		h.end()
	})
}

// breakDisk makes every commit fail, also after the file is opened again;
// mendDisk ends that.
func breakDisk(t *testing.T, h *harness) {
	if err := errors.Join(h.opened.file.db.Close(), os.Rename(h.path, h.path+".hidden"),
		os.Mkdir(h.path, 0o700)); err != nil {
		t.Fatal(err)
	}
}

func mendDisk(t *testing.T, h *harness) {
	if err := errors.Join(os.Remove(h.path), os.Rename(h.path+".hidden", h.path)); err != nil {
		t.Fatal(err)
	}
}

// TestHangingDiskDoesNotBlockPut takes the file's write lock, as a card does that
// neither succeeds nor fails. It runs in real time: a mutex is not what a
// synctest bubble waits for.
func TestHangingDiskDoesNotBlockPut(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	tx, err := h.opened.file.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	h.Put(alarm(1)) // waits for diskTimeout
	if !h.hanging() {
		t.Error("the first alarm did not wait for the disk")
	}
	for seq := range uint64(50) {
		h.Put(alarm(seq + 2)) // nobody waits any more: else the test takes 100 s
		h.Put(routine(seq + 1))
	}
	items, err := h.next(t.Context(), 3)
	if err != nil || fmt.Sprint(names(items)) != "[door1 storage door2]" {
		t.Errorf("next is %v, %v", names(items), err)
	}
	tx.Rollback()
	for range 1000 {
		if time.Sleep(time.Millisecond); h.Stats().Memory <= 50 {
			return
		}
	}
	t.Errorf("%d in memory after the disk came back, want the routine readings alone", h.Stats().Memory)
}

// TestAddDoesNotWaitForTheDisk holds the file's write lock: an alarm that is added can be
// sent at once, and a disk that hangs is noticed although nobody waits for it.
func TestAddDoesNotWaitForTheDisk(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	tx, err := h.opened.file.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(3) {
		h.Add(alarm(seq + 1))
	}
	if items, err := h.next(t.Context(), 3); err != nil || fmt.Sprint(names(items)) != "[door1 door2 door3]" ||
		h.hanging() {
		t.Errorf("next is %v, %v; hanging %v", names(items), err, h.hanging())
	}
	for end := time.Now().Add(time.Minute); !h.hanging(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody notices that the disk hangs")
		}
	}
	tx.Rollback()
	for end := time.Now().Add(time.Minute); h.Stats().Memory > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d in memory after the disk came back", h.Stats().Memory)
		}
	}
}

// TestFullMemoryNoticesADiskThatHangs: no alarm has come that would wait for the disk.
func TestFullMemoryNoticesADiskThatHangs(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	tx, err := h.opened.file.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(maxInMemory) {
		h.Add(routine(seq + 1))
	}
	for end := time.Now().Add(time.Minute); !h.hanging(); {
		if time.Now().After(end) {
			t.Fatal("nobody notices that the disk hangs")
		}
		h.Add(routine(maxInMemory + 1))
	}
	tx.Rollback()
}

func (h *harness) hanging() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.storage.hangs
}

func TestDamagedBlockIsSkippedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		for seq := range uint64(9000) {
			h.Put(routine(seq + 1))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		damageBlock(t, h.Queue, 1)
		r := recorder{}
		got := r.take(h.all(t))
		if len(got) == 0 || got[len(got)-1].Seq != 9000 {
			t.Fatalf("got %v", names(got))
		}
		r.check(t, map[string]uint64{"room": 9000})
		if len(r.gaps) != 1 || r.gaps[0].Why != Damaged {
			t.Errorf("gaps %+v, want one of what was damaged", r.gaps)
		}
		h.end()
	})
}

// damageBlock flips a bit in a routine block, counted from 0.
func damageBlock(t *testing.T, q *Queue, place int) {
	tx, err := q.opened.file.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	b := tx.Bucket(bucketLanes[sensors.Routine])
	c := b.Cursor()
	k, v := c.First()
	for range place {
		k, v = c.Next()
	}
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

// TestManyAlarmsDoNotRetryAFailingDiskAtOnce: more than fit into one commit
// are not a reason to try again at once.
func TestManyAlarmsDoNotRetryAFailingDiskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.stop()
		<-h.done
		h.mu.Lock()
		for seq := range uint64(maxEncode + 1000) {
			h.pushLocked(Item{Reading: alarm(seq + 1), Boot: h.boot})
		}
		h.mu.Unlock()
		h.opened.file.db.spent = true
		for range 2 { // the first brings an event that is due at once
			if (writer{h.Queue}).commit(false) == nil {
				t.Fatal("the disk does not fail")
			}
		}
		if due := (writer{h.Queue}).due(); due <= 0 {
			t.Errorf("the next attempt is due in %v", due)
		}
		h.opened.file.close()
	})
}
