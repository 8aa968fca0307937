package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// outage puts readings, one every 10 ms, from a number on, and an alarm with each
// hundredth.
func (h *harness) outage(from, to uint64) {
	for seq := from; seq <= to; seq++ {
		h.Put(routine(seq))
		if seq%100 == 0 {
			h.Put(alarm(seq / 100))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// drain is what all returns of a queue that may need a moment to read its disk.
func (h *harness) drain(t *testing.T) (all []Item) {
	t.Helper()
	for range 100_000 {
		if h.Stats().Backlog == 0 {
			return all
		}
		items, err := h.Peek(&Cursor{}, 100)
		if err != nil || len(items) == 0 {
			time.Sleep(time.Second)
			continue
		}
		h.Ack(items)
		all = append(all, items...)
	}
	t.Fatalf("%d of the backlog are left", h.Stats().Backlog)
	return nil
}

func events(items []Item, event string) (details []string) {
	for _, it := range items {
		if it.Event == event {
			details = append(details, it.Details)
		}
	}
	return details
}

// TestFileTruncatedUnderTheAgent: what is in memory is delivered, what was on
// disk comes or lies in a gap, and what comes is kept, without a restart.
func TestFileTruncatedUnderTheAgent(t *testing.T) {
	for _, left := range []int64{0, 1, 4096, 8192, 20480} {
		for _, more := range []uint64{0, 1000} { // nothing, or something, to commit
			t.Run(fmt.Sprintf("to %d bytes, %d more readings", left, more), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := start(t, queuePath(t))
					h.outage(1, 6000)
					if err := os.Truncate(h.path, left); err != nil {
						t.Fatal(err)
					}
					h.outage(6001, 6000+more)
					items := h.drain(t)
					r := recorder{}
					r.take(items)
					r.check(t, map[string]uint64{"room": 6000 + more, "door": (6000 + more) / 100})
					for seq := uint64(6001); seq <= 6000+more; seq++ {
						if !r.seen["room"][seq] {
							t.Fatalf("%d, which came later, is lost: gaps %+v", seq, r.gaps)
						}
					}
					if len(events(items, "storage"))+len(events(items, "quarantine")) == 0 {
						t.Error("no event says that the file was lost")
					}
					h.outage(7001, 8000)
					h.kill()
					h = start(t, h.path)
					defer h.end()
					r = recorder{}
					if r.take(h.all(t)); !r.seen["room"][7001] || !r.seen["room"][7400] {
						t.Error("what came after the file was lost is not on disk")
					}
				})
			})
		}
	}
}

// TestDeletedOrReplacedFileIsRestored with all that it held, within a minute, or with the
// next commit; an event says so.
func TestDeletedOrReplacedFileIsRestored(t *testing.T) {
	other := filled(t, 3, 90)
	for name, c := range map[string]struct {
		do    func(t *testing.T, path string) error
		state string
	}{
		"the file is deleted": {func(_ *testing.T, path string) error { return os.Remove(path) }, "deleted"},
		"the folder is deleted": {func(_ *testing.T, path string) error {
			return os.RemoveAll(filepath.Dir(path))
		}, "deleted"},
		"the folder is moved": {func(_ *testing.T, path string) error {
			return os.Rename(filepath.Dir(path), filepath.Dir(path)+"-old")
		}, "deleted"},
		"another file is put in its place": {func(_ *testing.T, path string) error {
			return errors.Join(os.WriteFile(path+".restored", other, 0o600), os.Rename(path+".restored", path))
		}, "replaced"},
		"rubbish is put in its place": {func(_ *testing.T, path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("rubbish"), 0o600))
		}, "replaced"},
		"another file system is mounted over it": {func(t *testing.T, path string) error {
			mount(t, filepath.Dir(path), "size=4m")
			return nil
		}, "deleted"},
	} {
		for _, more := range []uint64{0, 500} { // nothing, or something, to commit
			t.Run(fmt.Sprintf("%s, %d more readings", name, more), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "state", "queue.db")
				synctest.Test(t, func(t *testing.T) {
					h := start(t, path)
					h.outage(1, 3000)
					h.Ack(h.oldest(t, 100))
					time.Sleep(10 * time.Second)
					if err := c.do(t, path); err != nil {
						t.Fatal(err)
					}
					h.outage(3001, 3000+more)
					time.Sleep(61 * time.Second)
					h.kill()
					h = start(t, path)
					defer h.end()
					items := h.all(t)
					r := recorder{}
					r.take(items)
					for seq := uint64(71); seq <= 3000+more; seq++ { // 30 alarms and 70 others were acknowledged
						if !r.seen["room"][seq] {
							t.Fatalf("%d is lost: %d readings, gaps %+v", seq, len(r.seen["room"]), r.gaps)
						}
					}
					if got := events(items, "storage"); len(got) == 0 ||
						!strings.Contains(got[0], `"state":"`+c.state+`"`) {
						t.Errorf("events: %v", got)
					}
					want := map[string]int{"deleted": 0, "replaced": 1}[c.state]
					if aside, _ := filepath.Glob(path + ".aside-*"); len(aside) != want {
						t.Errorf("aside: %v", aside)
					}
					if !strings.HasPrefix(h.Boot(), "2-") {
						t.Errorf("the second start is %s", h.Boot())
					}
				})
			})
		}
	}
}

// TestFileOpenedByAnotherAgentIsNotReplaced: two agents must not take it from one
// another in turn. What this one has is delivered.
func TestFileOpenedByAnotherAgentIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.outage(1, 3000)
		if err := os.Remove(h.path); err != nil {
			t.Fatal(err)
		}
		other := start(t, h.path)
		other.outage(1, 10)
		time.Sleep(2 * time.Minute)
		h.outage(3001, 3100)
		if !h.Stats().Failing {
			t.Error("the agent without a file says nothing")
		}
		r := recorder{}
		r.take(h.drain(t))
		r.check(t, map[string]uint64{"room": 3100, "door": 31})
		if len(r.gaps) > 0 {
			t.Errorf("gaps %+v", r.gaps)
		}
		if n := len(other.all(t)); n != 10 {
			t.Errorf("the other agent has %d of 10 readings", n)
		}
		other.end()
		h.end()
	})
}

// TestNothingIsRenamedBeforeTheCopyIsComplete: a damaged file on a disk that could
// not be written is read from a copy in memory. When the copy cannot be written,
// a restart still finds the damaged file.
func TestNothingIsRenamedBeforeTheCopyIsComplete(t *testing.T) {
	path := queuePath(t)
	if err := os.WriteFile(path, filled(t, 4, 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	d := store{path: path, log: slog.New(slog.DiscardHandler), now: time.Now(), newEvent: func(storageEvent) Item {
		return Item{Boot: "1-test", Event: "storage", Reading: alarm(1)}
	}}
	f, _, err := d.salvageInMemory(errTruncated, syscall.EROFS)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := os.MkdirAll(filepath.Join(path+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := d.restore(f, f.inPlace()); err == nil {
		t.Fatal("restored")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("a copy that could not be written: %v", err)
	}
	if err := os.RemoveAll(path + ".new"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.restore(f, f.inPlace()); err != nil {
		t.Fatal(err)
	}
	aside, _ := filepath.Glob(path + ".*")
	if len(aside) != 1 || !strings.HasSuffix(aside[0], "-partial") {
		t.Errorf("beside the queue: %v", aside)
	}
}

// unwritable are the ways in which a disk of 1 MiB, with a queue on it, cannot be
// written, and how that ends.
var unwritable = map[string]func(t *testing.T, dir string) (mend func() error){
	"full": func(t *testing.T, dir string) func() error {
		ballast := fill(t, dir)
		return func() error { return os.Remove(ballast) }
	},
	"out of inodes": func(t *testing.T, dir string) func() error {
		n, err := 0, error(nil)
		for ; err == nil; n++ {
			err = os.WriteFile(filepath.Join(dir, fmt.Sprint("inode-", n)), nil, 0o600)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		return func() (err error) {
			for i := range n - 1 {
				err = errors.Join(err, os.Remove(filepath.Join(dir, fmt.Sprint("inode-", i))))
			}
			return err
		}
	},
	"read-only": func(t *testing.T, dir string) func() error {
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		return func() error { return syscall.Mount("", dir, "", syscall.MS_REMOUNT, "") }
	},
}

// TestBacklogIsSentFromADiskThatCannotBeWritten: 128 readings and an alarm wait on
// it. All are sent, an acknowledgement holds although it cannot be kept, and when
// the disk can be written everything is as it should be.
func TestBacklogIsSentFromADiskThatCannotBeWritten(t *testing.T) {
	for name, breakIt := range unwritable {
		t.Run(name, func(t *testing.T) {
			dir := small(t)
			path := filepath.Join(dir, "queue.db")
			synctest.Test(t, func(t *testing.T) {
				h := start(t, path)
				for seq := range uint64(128) {
					h.Put(routine(seq + 1))
				}
				h.Put(alarm(1))
				h.end()
			})
			mend := breakIt(t, dir)
			synctest.Test(t, func(t *testing.T) {
				h := start(t, path)
				var got []Item
				for range 2 {
					items, err := h.Peek(&Cursor{}, 50)
					if err != nil {
						t.Fatal(err)
					}
					h.Ack(items)
					got = append(got, items...)
					time.Sleep(time.Minute)
				}
				h.Put(routine(129)) // of the next start, but that does not matter here
				h.Put(alarm(2))
				r := recorder{}
				r.take(got)
				if n := len(r.seen["room"]); n < 98 || !r.seen["door"][1] {
					t.Fatalf("%d readings and alarms %v came from the disk", n, r.seen["door"])
				}
				if name == "read-only" && !h.Stats().Failing {
					t.Error("nothing says that the disk cannot be written")
				}
				if err := mend(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if s := h.Stats(); s.Failing || s.Memory > 0 {
					t.Errorf("a minute after the disk can be written: %+v", s)
				}
				h.kill()
				h = start(t, path)
				defer h.end()
				items := h.all(t)
				for _, it := range items {
					if it.Event == "" && r.seen[it.Stream][it.Seq] {
						t.Fatalf("%s %d was acknowledged, and comes again", it.Stream, it.Seq)
					}
				}
				r.take(items)
				r.check(t, map[string]uint64{"room": 129, "door": 2})
				if len(r.gaps) > 0 {
					t.Errorf("gaps %+v", r.gaps)
				}
			})
		})
	}
}

// TestDamagedFileOnADiskThatCannotBeWritten, as cards end: what is intact is sent,
// at the start and under a running agent, and takes the place of the damaged file
// when the disk can be written.
func TestDamagedFileOnADiskThatCannotBeWritten(t *testing.T) {
	bad := filled(t, 40, 20_000)
	n := leafPage(t, bad)
	clear(bad[n*pageSize : (n+1)*pageSize])
	for name, breakIt := range unwritable {
		t.Run(name, func(t *testing.T) {
			dir := small(t)
			path := filepath.Join(dir, "queue.db")
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			mend := breakIt(t, dir)
			synctest.Test(t, func(t *testing.T) {
				h := start(t, path)
				items := h.drain(t)
				r := recorder{}
				r.take(items)
				if n := len(r.seen["room"]); n < 15_000 {
					t.Errorf("%d of 20000 readings came", n)
				}
				if err := mend(); err != nil {
					t.Fatal(err)
				}
				h.Put(routine(20_001))
				time.Sleep(time.Minute)
				if s := h.Stats(); s.Failing || s.Memory > 0 {
					t.Errorf("a minute after the disk can be written: %+v", s)
				}
				h.kill()
				h = start(t, path)
				defer h.end()
				if got := names(h.all(t)); !strings.Contains(fmt.Sprint(got), "room20001") || len(got) > 20 {
					t.Errorf("%d items after a restart", len(got))
				}
				if aside, _ := filepath.Glob(path + ".aside-*"); len(aside) != 1 {
					t.Errorf("aside: %v", aside)
				}
			})
		})
	}
}

// leafPage is the first leaf page of a file that is in use: which pages are free
// is not the same in each run.
func leafPage(t *testing.T, file []byte) (n int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		for n = 2; ; n++ {
			p, err := tx.Page(n)
			if err != nil || p == nil {
				return fmt.Errorf("page %d: no leaf page before it: %w", n, err)
			}
			if p.Type == "leaf" && p.OverflowCount == 0 && p.Count > 1 {
				return nil
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFileLostOnADiskThatCannotBeWritten under the agent: what is in memory does
// not wait behind what is gone, and what is gone is declared.
func TestFileLostOnADiskThatCannotBeWritten(t *testing.T) {
	for _, left := range []int64{0, 20480} {
		// no disk with an open file turns read-only but by an error
		for _, name := range []string{"full", "out of inodes"} {
			breakIt := unwritable[name]
			t.Run(fmt.Sprint(name, ", ", left, " bytes left"), func(t *testing.T) {
				dir := small(t)
				synctest.Test(t, func(t *testing.T) {
					h := start(t, filepath.Join(dir, "queue.db"))
					h.outage(1, 6000)
					if err := os.Truncate(h.path, left); err != nil {
						t.Fatal(err)
					}
					mend := breakIt(t, dir)
					h.outage(6001, 7000)
					deadline := time.Now().Add(time.Minute)
					r := recorder{}
					for !r.seen["room"][7000] && time.Now().Before(deadline) {
						items, err := h.Peek(&Cursor{}, 100)
						if err != nil || len(items) == 0 {
							time.Sleep(time.Second)
						}
						h.Ack(items)
						r.take(items)
					}
					if !r.seen["room"][7000] || !r.seen["door"][70] {
						t.Errorf("a minute later what is in memory still waits: %d readings and %d alarms came",
							len(r.seen["room"]), len(r.seen["door"]))
					}
					if err := mend(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					r.take(h.drain(t))
					r.check(t, map[string]uint64{"room": 7000, "door": 70})
					h.end()
				})
			})
		}
	}
}

// TestAFileThatIsLostIsNoDiskThatHangs: an alarm that waits for the disk meanwhile has
// another number in the new file.
func TestAFileThatIsLostIsNoDiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		for seq := range uint64(100) {
			h.Put(alarm(seq + 1))
		}
		h.all(t)
		time.Sleep(2 * time.Minute)
		if err := os.Truncate(h.path, 0); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		h.Put(alarm(101))
		if took := time.Since(began); took >= diskTimeout || h.Stats().Memory != 0 {
			t.Errorf("Put took %v, %d in memory only", took, h.Stats().Memory)
		}
		for _, it := range h.Recent() {
			if strings.Contains(it.Details, "hangs") {
				t.Errorf("event %s %s", it.Event, it.Details)
			}
		}
	})
}
