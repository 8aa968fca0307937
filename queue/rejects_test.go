package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// oldest returns the oldest items.
func (h *harness) oldest(t testing.TB, max int) []Item {
	t.Helper()
	items, err := h.next(t.Context(), max)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// setAside sets the oldest n items aside, one after the other.
func (h *harness) setAside(t testing.TB, n int, declare bool) {
	t.Helper()
	for n > 0 {
		for _, it := range h.oldest(t, n) {
			if err := h.Reject(it, declare); err != nil {
				t.Fatal(err)
			}
			n--
		}
	}
}

// aside returns all that was rejected, read in steps.
func (h *harness) aside(t testing.TB) (all []Item) {
	t.Helper()
	var c Cursor
	for step := 3; ; step *= 2 {
		items, err := h.Rejected(&c, step)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) == 0 {
			return all
		}
		for _, it := range items {
			if !it.IsRejected() {
				t.Errorf("%+v does not say that it was set aside", it)
			}
			c.Advance(it)
		}
		all = append(all, items...)
	}
}

func putMany(h *harness, from, to uint64) {
	for seq := from; seq <= to; seq++ {
		h.Put(routine(seq))
	}
}

func TestRejectedItemLeavesItsLaneAndIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		putMany(h, 1, 5)
		h.setAside(t, 2, false)
		if got := fmt.Sprint(names(h.oldest(t, 9))); got != "[room3 room4 room5]" {
			t.Errorf("next is %s", got)
		}
		if s := h.Stats(); s.Backlog != 3 || s.Rejected != 2 || s.Dropped != 0 {
			t.Errorf("stats %+v", s)
		}
		h.setAside(t, 3, false)
		for range 2 { // from memory, then from the file
			if got := fmt.Sprint(names(h.aside(t))); got != "[room1 room2 room3 room4 room5]" {
				t.Errorf("set aside are %s", got)
			}
			time.Sleep(6 * time.Second)
		}
		third := h.aside(t)[2]
		if err := h.Reject(third, true); err != nil {
			t.Errorf("one that is there already: %v", err)
		}
		h.Ack([]Item{third, third})
		for range 2 {
			if got := fmt.Sprint(names(h.aside(t))); got != "[room1 room2 room4 room5]" || h.Stats().Rejected != 4 {
				t.Errorf("after room3 was acknowledged: %s, of %d", got, h.Stats().Rejected)
			}
			time.Sleep(2 * time.Minute)
		}
		if s := h.Stats(); s.Backlog != 0 {
			t.Errorf("a word was said of what was not to be declared: %+v", s)
		}
	})
}

func TestOnlyTheOldestOfALaneCanBeRejected(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in memory": 0, "spilled since": 6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, queuePath(t))
			defer h.end()
			putMany(h, 1, 1000)
			items := h.oldest(t, 3)
			time.Sleep(wait)
			if err := h.Reject(items[1], true); err == nil {
				t.Errorf("%s: the second is set aside before the first", name)
			}
			if got := fmt.Sprint(names(h.oldest(t, 3))); got != "[room1 room2 room3]" {
				t.Errorf("%s: then next is %s", name, got)
			}
			h.Ack(items[:1])
			for range 2 { // the second time it is there
				if err := h.Reject(items[1], false); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if got := fmt.Sprint(names(h.oldest(t, 1)), names(h.aside(t))); got != "[room3] [room2]" {
				t.Errorf("%s: next and aside are %s", name, got)
			}
		})
	}
}

// everyKind is one item of each kind, all fields in use.
func everyKind(h *harness) {
	failed := routine(1)
	failed.Err, failed.Value = "i2c-1 0x38: no acknowledge", 0
	h.Put(failed)
	h.Put(alarm(1))
	h.Report(sensors.Event{Name: "storage", At: stamp(), Details: json.RawMessage(`{"state":"fails"}`)})
}

func TestRejectedItemSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		everyKind(h)
		h.mu.Lock()
		h.gaps.add(Gap{Stream: "room", Boot: "1-00000000", From: 3, To: 9, Count: 7, Why: Dropped})
		h.mu.Unlock()
		want := h.oldest(t, 9)
		if got := fmt.Sprint(names(want)); got != "[door1 storage gap room1]" {
			t.Fatalf("next is %s", got)
		}
		h.setAside(t, 4, false)
		for _, how := range []string{"in memory", "after a stop", "after a kill"} {
			got := h.aside(t)
			for i := range got {
				got[i].number, got[i].generation, got[i].put, got[i].rejected = want[i].number, want[i].generation,
					want[i].put, false
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\ngot  %+v\nwant %+v", how, got, want)
			}
			if n := h.Stats().Backlog; n != 0 {
				t.Errorf("%s: %d wait all the same", how, n)
			}
			if how == "in memory" {
				h.end()
			} else {
				h.kill()
			}
			h = start(t, h.path)
		}
		h.end()
	})
}

func TestRejectedItemIsDeclaredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		putMany(h, 1, 2)
		h.setAside(t, 1, true)
		boot := h.Boot()
		items := h.oldest(t, 9)
		if got := fmt.Sprint(names(items)); got != "[aside gap room2]" {
			t.Fatalf("next is %s", got)
		}
		if got, want := items[0].Details, `{"of":{"boot":"`+boot+`","seq":1},"stream":"room"}`; got != want {
			t.Errorf("the event says %s, want %s", got, want)
		}
		if got, want := items[1].Details,
			`{"stream":"room","boot":"`+boot+`","from":1,"to":1,"count":1,"why":"aside"}`; got != want {
			t.Errorf("the gap says %s, want %s", got, want)
		}
		h.Ack(items)

		h.Report(sensors.Event{Name: "storage", At: stamp(), Details: json.RawMessage(`{"state":"fails"}`)})
		h.setAside(t, 1, true)
		items = h.oldest(t, 9)
		if got, want := fmt.Sprint(names(items), items[0].Details),
			`[aside]{"of":{"boot":"`+boot+`","event":"storage","seq":3}}`; got != want {
			t.Errorf("of an event: %s, want %s", got, want)
		}
		h.setAside(t, 1, true)
		if n := h.Stats().Backlog; n != 0 {
			t.Errorf("%d words of a refused word", n)
		}
	})
}

// TestCursorOnDiskNeverPassesAnUnwrittenItem kills at every moment, in steps of
// a quarter of a second.
func TestCursorOnDiskNeverPassesAnUnwrittenItem(t *testing.T) {
	for _, onDisk := range []bool{false, true} {
		for quarters := range 30 {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, queuePath(t))
				putMany(h, 1, 3)
				if onDisk {
					time.Sleep(6 * time.Second)
				}
				h.setAside(t, 2, false)
				time.Sleep(time.Duration(quarters)*250*time.Millisecond + time.Millisecond)
				h.kill()
				h = start(t, h.path)
				defer h.end()
				aside, waits := len(h.aside(t)), h.Stats().Backlog
				late := time.Duration(quarters)*250*time.Millisecond >= 5*time.Second
				if aside != 0 && aside != 2 || (onDisk || late) && aside+waits != 3 || late && aside != 2 {
					t.Errorf("killed after %d quarters, on disk before: %v: %d aside and %d wait of 3", quarters,
						onDisk, aside, waits)
				}
			})
		}
	}
}

func TestOldestRejectedItemIsDroppedAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.opt.MaxSize = 16_000
		for seq := range uint64(100) {
			h.Put(routine(seq + 1))
			h.setAside(t, 1, seq < 10)
			for h.Stats().Backlog > 0 {
				h.Ack(slices.DeleteFunc(h.oldest(t, 9), func(it Item) bool {
					return it.Event != "gap" && it.Event != "aside"
				}))
			}
		}
		time.Sleep(6 * time.Second)
		h.mu.Lock()
		size := h.opened.file.rejects.size
		h.mu.Unlock()
		kept := h.aside(t)
		if size > h.opt.MaxSize/8 || size < h.opt.MaxSize/16 || len(kept) != h.Stats().Rejected ||
			kept[len(kept)-1].Seq != 100 {
			t.Fatalf("%d items of %d bytes, the last is %v; stats %+v", len(kept), size, kept[len(kept)-1], h.Stats())
		}
		r := recorder{}
		r.take(h.all(t))
		first := kept[0].Seq
		if want := (Gap{Stream: "room", Boot: h.Boot(), From: 11, To: first - 1, Count: first - 11,
			Why: Dropped}); len(r.gaps) != 1 || r.gaps[0] != want {
			t.Errorf("gaps %+v, want one of what was not declared before: %+v", r.gaps, want)
		}
		if n := h.Stats().Dropped; n != first-1 {
			t.Errorf("%d dropped, want %d", n, first-1)
		}
		h.end()
		h = start(t, h.path)
		defer h.end()
		if again := h.aside(t); !slices.Equal(names(again), names(kept)) {
			t.Errorf("after a stop: %v, want %v", names(again), names(kept))
		}
	})
}

// TestRejectedItemsCountTowardsMaxSize: both together stay within it.
func TestRejectedItemsCountTowardsMaxSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		h.opt.MaxSize = 200_000
		for seq := range uint64(60_000) {
			r := routine(seq + 1)
			r.Value = float64(seq*7919) / 7 // takes eight bytes
			h.Put(r)
			if seq < 250 {
				h.setAside(t, 1, false)
			}
			time.Sleep(10 * time.Millisecond)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if lanes, aside := h.opened.file.size, h.opened.file.rejects.size; lanes+aside > h.opt.MaxSize ||
			lanes < h.opt.MaxSize/2 || aside < 20_000 {
			t.Errorf("%d bytes of blocks and %d aside, max_size is %d", lanes, aside, h.opt.MaxSize)
		}
	})
}

func TestRejectedItemsInMemoryAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.opt.MaxSize = 64 << 20
		breakDisk(t, h)
		h.Put(alarm(1))
		h.Ack(h.oldest(t, 9)) // and the news that the disk fails
		putMany(h, 1, maxRejectsInMemory+1)
		h.setAside(t, maxRejectsInMemory, false)
		last := h.oldest(t, 9)
		if err := h.Reject(last[0], true); !errors.Is(err, errRejectsFull) {
			t.Errorf("one more than %d: %v", maxRejectsInMemory, err)
		}
		if again := h.oldest(t, 9); !reflect.DeepEqual(again, last) || len(last) != 1 {
			t.Errorf("then next is %v, want %v again and nothing that was declared", names(again), names(last))
		}
		time.Sleep(time.Minute + time.Second)
		mendDisk(t, h)
		time.Sleep(10 * time.Second)
		h.kill()
		h = startWith(t, h.opt)
		defer h.end()
		got := h.aside(t)
		if len(got) != maxRejectsInMemory || got[0].Seq != 1 || got[len(got)-1].Seq != maxRejectsInMemory {
			t.Errorf("%d are set aside after the disk works again", len(got))
		}
		if got := names(h.all(t)); !slices.Contains(got, fmt.Sprint("room", maxRejectsInMemory+1)) {
			t.Errorf("and %v waits", got)
		}
	})
}

// TestRejectedItemsAreReadWhileWritesFail, and again when it works, though all that
// came meanwhile was acknowledged from memory.
func TestRejectedItemsAreReadWhileWritesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		putMany(h, 1, 3)
		h.setAside(t, 3, false)
		time.Sleep(6 * time.Second)
		breakDisk(t, h)
		h.Put(alarm(1))
		time.Sleep(time.Minute + time.Second)
		if got := fmt.Sprint(names(h.aside(t))); got != "[room1 room2 room3]" {
			t.Errorf("while the disk fails: %s", got)
		}
		if got := h.oldest(t, 9); len(got) == 2 {
			h.Ack(got) // and the news that it fails
		}
		mendDisk(t, h)
		time.Sleep(10 * time.Second)
		if got := fmt.Sprint(names(h.aside(t))); got != "[room1 room2 room3]" {
			t.Errorf("got %s", got)
		}
	})
}

// TestReadFromBeforeACommitIsStale: the disk answers a read of what was rejected
// only after the commit that took out what was acknowledged meanwhile.
func TestReadFromBeforeACommitIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		putMany(h, 1, 3)
		h.setAside(t, 3, false)
		time.Sleep(time.Minute) // they are on disk
		first, err := h.Rejected(&Cursor{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		what := rejectsRead{h.opened.file, 1, h.rejects.firstInMemory(), 9, h.rejects.commits}
		before, err := h.reader.readRejects(what)
		if err != nil || len(before.items) != 3 {
			t.Fatalf("%d items, %v, want 3", len(before.items), err)
		}
		h.Ack(first)
		time.Sleep(time.Minute) // the commit
		late := &pendingRead{what: what, done: make(chan struct{}), answer: rejectsAnswer{before, nil}}
		close(late.done)
		h.reader[rejectsSlot] = late
		items, err := h.Rejected(&Cursor{}, 9)
		if got := fmt.Sprint(names(items)); err != nil || got != "[room2 room3]" {
			t.Errorf("%s, %v, want what was not acknowledged", got, err)
		}
		if h.reader[rejectsSlot] != nil {
			t.Error("the late answer was not taken")
		}
	})
}

// TestManyRejectedItemsAreWrittenEarly: a stream that is held as a whole may
// drain faster than the writer's time comes.
func TestManyRejectedItemsAreWrittenEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		h.opt.MaxSize = 64 << 20
		putMany(h, 1, 3*maxRejectsInMemory)
		time.Sleep(6 * time.Second)
		before := h.Stats().Commits
		for range 3 * maxRejectsInMemory / 512 {
			h.setAside(t, 512, false)
			synctest.Wait()
		}
		if n := h.Stats().Commits - before; n < 10 || n > 13 {
			t.Errorf("%d commits for %d items, one for %d is enough", n, 3*maxRejectsInMemory, rejectsEarly)
		}
		if n := len(h.aside(t)); n != 3*maxRejectsInMemory {
			t.Errorf("%d of %d", n, 3*maxRejectsInMemory)
		}
	})
}

// TestRejectedItemsAreWrittenToALateDisk: the numbers that it had without a
// file are those of others in it.
func TestRejectedItemsAreWrittenToALateDisk(t *testing.T) {
	dir := small(t)
	path := filepath.Join(dir, "queue.db")
	manyAside(t, path, 2)
	if err := os.Rename(path, path+".late"); err != nil {
		t.Fatal(err)
	}
	ballast := fill(t, dir)
	synctest.Test(t, func(t *testing.T) {
		h := start(t, path)
		h.Ack(h.oldest(t, 9)) // the news that the disk fails
		putMany(h, 11, 13)
		h.setAside(t, 3, false)
		flight := h.aside(t)
		if got := fmt.Sprint(names(flight)); got != "[room11 room12 room13]" {
			t.Errorf("without a file: %s", got)
		}
		h.Ack(flight[1:2])
		if err := errors.Join(os.Rename(path+".late", path), os.Remove(ballast)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.Ack(flight[:1]) // numbered before there was a file: it comes again
		for range 2 {
			if got := fmt.Sprint(names(h.aside(t))); got != "[door1 door2 room11 room13]" || h.Stats().Rejected != 4 {
				t.Errorf("with the file: %s of %d", got, h.Stats().Rejected)
			}
			h.end()
			h = start(t, path)
		}
		h.end()
	})
}

func TestDamagedRejectedItemIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		putMany(h, 1, 3)
		h.setAside(t, 3, false)
		time.Sleep(6 * time.Second)
		tx, err := h.opened.file.db.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		b := tx.Bucket(bucketRejects)
		v := slices.Clone(b.Get(key(2)))
		v[len(v)-1] ^= 1
		if err := errors.Join(b.Put(key(2), v), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		if c, err := Inspect(h.path, nil); err != nil || c.Rejected != 2 || c.Damaged != 1 {
			t.Errorf("inspected: %+v, %v", c, err)
		}
		for range 3 {
			if got := fmt.Sprint(names(h.aside(t))); got != "[room1 room3]" || h.Stats().Rejected != 2 {
				t.Errorf("got %s of %d", got, h.Stats().Rejected)
			}
			time.Sleep(2 * time.Minute)
		}
		if got := h.all(t); len(got) != 1 || got[0].Details != `{"blocks":1,"state":"damaged"}` {
			t.Errorf("its event is %+v", got)
		}
		h.end()
		h = start(t, h.path)
		defer h.end()
		if got := fmt.Sprint(names(h.aside(t))); got != "[room1 room3]" || h.Stats().Backlog != 0 {
			t.Errorf("after a stop: %s, and %d words", got, h.Stats().Backlog)
		}
	})
}

// manyAside makes a file in which every third reading was rejected, and the
// others wait.
func manyAside(t *testing.T, path string, n uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, path)
		for seq := range n {
			h.Put(alarm(seq + 1))
			h.setAside(t, 1, false)
			h.Put(routine(2*seq + 1))
			h.Put(routine(2*seq + 2))
		}
		h.end()
	})
}

// TestScanDistinguishesRejectedItemsFromBlocks: page by page, nothing else does.
func TestScanDistinguishesRejectedItemsFromBlocks(t *testing.T) {
	it := Item{Boot: "1-00000000", Reading: routine(1), number: 7}
	declaredItem := it
	declaredItem.declared = true
	for value, aside := range map[string]bool{
		string(encode(run{items: []Item{it}})): false,
		string(encodeRejected(it)):             true,
		string(encodeRejected(declaredItem)):   true,
	} {
		_, sp, block := spanOf([]byte(value))
		n, _, was := rejectedIn([]byte(value))
		if block == aside || was != aside || block && sp.last != 7 || was && n != 7 {
			t.Errorf("%q: block %v, aside %v, want aside %v", value, block, was, aside)
		}
	}
}

func TestSalvageKeepsRejectedItems(t *testing.T) {
	path := queuePath(t)
	manyAside(t, path, 300)
	dieOpening(t, path, 2, func() string { return "boot-1" })
	kernelBoot = func() string { return "boot-1" }
	h := start(t, path)
	defer h.end()
	if aside, rest := h.aside(t), names(h.all(t)); len(aside) != 300 || aside[299].Seq != 300 || len(rest) != 601 ||
		rest[0] != "quarantine" {
		t.Errorf("%d aside and %d more: %v", len(aside), len(rest), rest[:1])
	}
}

// TestSalvageFindsRejectedItemsOnAnyPage zeroes each page in turn: what
// was on the others is there, and in the same order.
func TestSalvageFindsRejectedItemsOnAnyPage(t *testing.T) {
	whole := queuePath(t)
	manyAside(t, whole, 300)
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for page := range len(b) / pageSize {
		path := queuePath(t)
		injured := slices.Clone(b)
		clear(injured[page*pageSize : (page+1)*pageSize])
		if err := os.WriteFile(path, injured, 0o600); err != nil {
			t.Fatal(err)
		}
		h := start(t, path)
		got := h.aside(t)
		if len(got) < 200 || !slices.IsSortedFunc(got, func(a, b Item) int { return int(a.Seq) - int(b.Seq) }) {
			t.Errorf("page %d: %d of 300, %v", page, len(got), names(got))
		}
		h.end()
	}
}

// swell makes the file as large as this, and takes out what made it so.
func (h *harness) swell(t *testing.T, bytes int64) {
	t.Helper()
	for seq := uint64(1_000_000); ; time.Sleep(5 * time.Second) {
		if info, err := os.Stat(h.path); err != nil || info.Size() >= bytes {
			break
		}
		for range 500 {
			seq++
			r := routine(seq)
			r.State = fmt.Sprint(seq, strings.Repeat("-", 4000))
			h.Put(r)
		}
	}
	h.all(t)
}

// TestFileDoesNotShrinkWhileItemsWaitForACommit: the cursor in the new one would
// be beyond what only memory has.
func TestFileDoesNotShrinkWhileItemsWaitForACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.opt.MaxSize = 64 << 20
		putMany(h, 1, 2)
		h.setAside(t, 1, false)
		h.swell(t, shrinkAbove) // room2 is in it
		h.stop()
		<-h.done
		h.Put(routine(3))
		if err := (writer{h.Queue}).commit(true); err != nil {
			t.Fatal(err)
		}
		h.setAside(t, 1, false)
		if err := (writer{h.Queue}).shrink(); err != nil {
			t.Fatal(err)
		}
		h.opened.file.close()
		h = start(t, h.path)
		defer h.end()
		if aside, waits := names(h.aside(t)), names(h.all(t)); fmt.Sprint(aside, waits) != "[room1] [room3]" {
			t.Errorf("aside %v, and waiting %v", aside, waits)
		}
	})
}

// TestFailedCommitThatIsOnDiskRejectsNothingTwice: what a commit wrote
// that was said to have failed is learned from the file.
func TestFailedCommitThatIsOnDiskRejectsNothingTwice(t *testing.T) {
	h := start(t, queuePath(t))
	putMany(h, 1, 5)
	h.stop()
	<-h.done
	h.setAside(t, 3, false)
	h.Ack(h.aside(t)[1:2])
	h.mu.Lock()
	c := planLocked(&h.backlog, true)
	h.mu.Unlock()
	if _, err := h.opened.file.write(c); err != nil {
		t.Fatal(err)
	}
	h.setAside(t, 1, false)
	h.Ack(h.aside(t)[:1]) // room1 is on disk
	if err := (writer{h.Queue}).reconcile(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(names(h.aside(t))); got != "[room3 room4]" || h.Stats().Rejected != 2 {
		t.Errorf("%s are aside, %d counted", got, h.Stats().Rejected)
	}
	h.end()
	h = start(t, h.path)
	defer h.end()
	if aside, waits := names(h.aside(t)), names(h.all(t)); fmt.Sprint(aside, waits) != "[room3 room4] [room5]" ||
		h.Stats().Rejected != 2 {
		t.Errorf("after a stop %v are aside, %d counted, and %v wait", aside, h.Stats().Rejected, waits)
	}
}

// TestShrunkFileKeepsRejectedItems, also if they are so many that the new file is nearly large
// enough to be replaced again.
func TestShrunkFileKeepsRejectedItems(t *testing.T) {
	for _, n := range []uint64{600, 45_000} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, queuePath(t))
			h.opt.MaxSize = 64 << 20
			info := func() fs.FileInfo { info, _ := os.Stat(h.path); return info }
			for seq := uint64(0); seq < n; seq += 600 {
				putMany(h, seq+1, seq+600)
				h.setAside(t, 600, false)
				time.Sleep(5 * time.Second)
			}
			h.swell(t, 2*shrinkAbove)
			time.Sleep(6 * time.Second)
			renewed := info()
			held, err := os.Open(h.path) // so that no other file gets its inode
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			if renewed.Size() > shrinkAbove {
				t.Errorf("the empty file has %d bytes, %d of them aside", renewed.Size(), h.opened.file.rejects.size)
			}
			for seq := range uint64(5) {
				h.Put(alarm(seq + 1))
				h.all(t)
				time.Sleep(2 * time.Minute)
			}
			if !os.SameFile(renewed, info()) {
				t.Errorf("the file of %d bytes is replaced again and again", renewed.Size())
			}
			for _, how := range []string{"renewed", "opened again"} {
				got := h.aside(t)
				if len(got) != int(n) || got[n-1].Seq != n || h.Stats().Rejected != int(n) {
					t.Errorf("%s: %d of %d, %d counted", how, len(got), n, h.Stats().Rejected)
				}
				h.end()
				h = startWith(t, h.opt)
			}
			h.end()
		})
	}
}

func TestOlderFileGetsTheBucketOfRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.Put(alarm(1))
		h.end()
		db, err := openDB(h.path)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := db.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(tx.DeleteBucket(bucketRejects), tx.Commit(), db.Close()); err != nil {
			t.Fatal(err)
		}
		if c, err := Inspect(h.path, nil); err != nil || c.Alarms != 1 || c.Rejected != 0 {
			t.Errorf("inspected: %+v, %v", c, err)
		}
		h = start(t, h.path)
		h.setAside(t, 1, false)
		h.end()
		h = start(t, h.path)
		defer h.end()
		if got := names(h.aside(t)); fmt.Sprint(got) != "[door1]" || h.Stats().Backlog != 0 {
			t.Errorf("set aside are %v, and %d wait", got, h.Stats().Backlog)
		}
	})
}

func TestPurgeDropsRejectedItems(t *testing.T) {
	for _, wait := range []time.Duration{0, 6 * time.Second} { // in memory, on disk
		synctest.Test(t, func(t *testing.T) {
			h := start(t, queuePath(t))
			putMany(h, 1, 5)
			h.setAside(t, 1, true)
			h.Ack(h.oldest(t, 2)) // its event and its gap
			h.setAside(t, 2, false)
			time.Sleep(wait)
			h.Ack(h.oldest(t, 2))
			if n, err := h.Purge(); n != 3 || err != nil {
				t.Errorf("%d purged, %v, want 3", n, err)
			}
			r := recorder{}
			r.take(h.all(t))
			if want := (Gap{Stream: "room", Boot: h.Boot(), From: 2, To: 3, Count: 2,
				Why: Dropped}); len(r.gaps) != 1 || r.gaps[0] != want {
				t.Errorf("gaps %+v, want %+v", r.gaps, want)
			}
			for range 2 {
				if n := h.Stats().Rejected; n != 0 || len(h.aside(t)) != 0 {
					t.Errorf("%d are still set aside", n)
				}
				h.end()
				h = start(t, h.path)
			}
			h.end()
		})
	}
}

func TestInspectDistinguishesRejectedFromWaitingItems(t *testing.T) {
	path := queuePath(t)
	manyAside(t, path, 2)
	var got []string
	c, err := Inspect(path, func(it Item) error {
		got = append(got, fmt.Sprint(names([]Item{it}), it.IsRejected()))
		return nil
	})
	if want := "[room1] false [room2] false [room3] false [room4] false [door1] true [door2] true"; err != nil ||
		c.Rejected != 2 || c.Alarms != 0 || c.Routine != 4 || strings.Join(got, " ") != want {
		t.Errorf("%v: %+v, %v, want %s", err, c, got, want)
	}
}
