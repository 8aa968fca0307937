package queue

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// reload closes the queue and opens it again in the same process.
func (h *harness) reload(t *testing.T) *harness {
	t.Helper()
	h.stop()
	<-h.done
	opt := h.opt
	opt.Unsaved = h.Unsaved(h.Close(), false)
	return startWith(t, opt)
}

// TestReloadKeepsUnsavedReadings: readings, what was rejected, gaps
// and acknowledgements go on in memory, and to disk when it can be written.
func TestReloadKeepsUnsavedReadings(t *testing.T) {
	for name, breakIt := range unwritable {
		t.Run(name, func(t *testing.T) {
			dir := small(t)
			path := filepath.Join(dir, "queue.db")
			synctest.Test(t, func(t *testing.T) {
				h := start(t, path)
				h.outage(1, 300)
				h.end()
			})
			mend := breakIt(t, dir)
			synctest.Test(t, func(t *testing.T) {
				h := start(t, path)
				r := recorder{}
				items := h.oldest(t, 100) // 3 alarms, and perhaps the news that the disk fails
				h.Ack(items)
				r.take(items)
				h.outage(301, 6000) // more than fits into the file
				h.setAside(t, 1, false)
				for range 3 {
					h = h.reload(t)
				}
				if n := len(h.aside(t)); n != 1 {
					t.Errorf("%d of 1 are set aside after reloads", n)
				}
				r.take(h.aside(t))
				if err := mend(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				h.kill()
				h = start(t, path)
				defer h.end()
				for _, it := range h.all(t) {
					if it.Event == "" && r.seen[it.Stream][it.Seq] {
						t.Fatalf("%s %d was acknowledged, and comes again", it.Stream, it.Seq)
					}
					r.take([]Item{it})
				}
				r.check(t, map[string]uint64{"room": 6000, "door": 60})
				if len(r.gaps) > 0 {
					t.Errorf("gaps %+v", r.gaps)
				}
			})
		})
	}
}

// TestReloadDoesNotWaitForADiskThatHangs: the queue of before has the file. Its
// readings are delivered from memory, and the file is opened when it is free.
func TestReloadDoesNotWaitForADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.outage(1, 1000)
		h.stop()
		<-h.done
		opt := h.opt
		opt.Unsaved = h.Unsaved(errSlow, true)
		next := startWith(t, opt)
		defer next.end()
		if next.Boot() == h.Boot() || next.Boot()[:2] != "2-" {
			t.Errorf("boot %s after %s", next.Boot(), h.Boot())
		}
		next.Put(alarm(11))
		r := recorder{}
		r.take(next.oldest(t, 1000))
		if !r.seen["room"][1000] || !r.seen["door"][11] {
			t.Errorf("in memory are %v", r.seen)
		}
		h.Close() // the disk answers
		time.Sleep(10 * time.Second)
		r.take(next.drain(t))
		r.check(t, map[string]uint64{"room": 1000, "door": 11})
	})
}

// TestUnsavedReadingsOfAnotherClientIDAreNotSent under the new client ID.
func TestUnsavedReadingsOfAnotherClientIDAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.Put(routine(1))
		h.stop()
		<-h.done
		opt := h.opt
		opt.ClientID, opt.Unsaved = "other", h.Unsaved(errSlow, true)
		h.Close()
		q, err := Open(opt, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		if items, _ := q.Peek(&Cursor{}, 10); fmt.Sprint(names(items)) != "[storage]" {
			t.Errorf("got %v", names(items))
		}
	})
}

// TestSilentDiskIsWaitedForOnce and its answer is taken when it comes.
func TestSilentDiskIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		answer := make(chan int)
		reads := 0
		read := func() any { reads++; return <-answer }
		began := time.Now()
		for range 100 {
			if _, err := h.reader.read(0, "block", read); err != errSlow {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != diskTimeout {
			t.Errorf("waited for %v in a hundred calls, want %v", d, diskTimeout)
		}
		if _, err := h.reader.read(1, "block", func() any { return nil }); err != nil {
			t.Errorf("the other lane: %v", err)
		}
		answer <- 7
		synctest.Wait()
		if got, err := h.reader.read(0, "block", read); got != 7 || err != nil || reads != 1 {
			t.Errorf("%v, %v after %d reads", got, err, reads)
		}
	})
}

// TestFileCheckWritesNothing: on a healthy link the file is looked at, and not
// written.
func TestFileCheckWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		before, err := os.Stat(h.path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		after, err := os.Stat(h.path)
		if err != nil || h.Stats().Commits > 0 || !after.ModTime().Equal(before.ModTime()) {
			t.Errorf("%d commits in an idle day, %v", h.Stats().Commits, err)
		}
	})
}

// TestGapInAHangingCommitIsInUnsaved: the commit holds it, and may never end.
func TestGapInAHangingCommitIsInUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.stop()
		<-h.done
		h.mu.Lock()
		h.gaps.add(Gap{Stream: "room", Boot: h.boot, From: 1, To: 10, Count: 10, Why: Dropped})
		planLocked(&h.backlog, true)
		h.storage.writing = true // as commitChange has it while the disk works
		h.mu.Unlock()
		opt := h.opt
		opt.Unsaved = h.Unsaved(errSlow, true)
		next := startWith(t, opt)
		r := recorder{}
		r.take(next.oldest(t, 10))
		next.end()
		h.opened.file.close()
		if len(r.gaps) != 1 {
			t.Errorf("gaps %+v", r.gaps)
		}
	})
}

// TestLateReadIsDiscardedAfterAnEviction: what has been dropped and declared while
// the disk did not answer must not come.
func TestLateReadIsDiscardedAfterAnEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		for seq := range uint64(3000) {
			h.Put(routine(seq + 1))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		l := &h.lanes[sensors.Routine]
		h.oldest(t, 1)
		given := uint64(len(h.oldest(t, len(l.cache.head)))) // the first block: it stays
		from, _ := l.nextToLoad(1)
		what := blockRead{h.opened.file, h.opened.generation, sensors.Routine, from, l.disk.lastBlock, l.disk.evictions}
		r, damaged, err := h.opened.file.read(what.lane, what.from, what.last)
		late := &pendingRead{what: what, done: make(chan struct{}), answer: blockAnswer{r, damaged, err}}
		close(late.done)
		h.reader[sensors.Routine] = late
		if _, err := h.Purge(); err != nil {
			t.Fatal(err)
		}
		got := recorder{}
		got.take(h.drain(t))
		if n := len(got.seen["room"]); n > int(given) || len(got.gaps) == 0 {
			t.Errorf("%d readings came, %d were handed out before the rest was dropped; gaps %+v", n, given, got.gaps)
		}
	})
}

// TestOnlyUnacknowledgedReadingsOfAnEarlierStartAreDeclared: the first thousand were acknowledged before a
// reload. When the file is lost after it, only what was left is declared.
func TestOnlyUnacknowledgedReadingsOfAnEarlierStartAreDeclared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.outage(1, 1000)
		h.drain(t)
		putMany(h, 1001, 3000)
		h.stop()
		<-h.done
		opt := h.opt
		opt.Unsaved = h.Unsaved(errSlow, false)
		h.opened.file.close()
		next := startWith(t, opt)
		defer next.end()
		time.Sleep(time.Minute)
		if err := os.Truncate(next.path, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		r := recorder{}
		r.take(next.drain(t))
		if len(r.gaps) != 1 || r.gaps[0].From != 1001 || r.gaps[0].Boot != h.Boot() ||
			r.gaps[0].Count+uint64(len(r.seen["room"])) != 2000 {
			t.Errorf("%d readings came, declared are %+v", len(r.seen["room"]), r.gaps)
		}
	})
}
