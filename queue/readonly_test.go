package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// unwritable are the ways in which a disk of 1 MiB, with a queue on it, cannot be
// written, and how that ends.
var unwritable = map[string]func(t *testing.T, dir string) (mend func() error){
	"full": func(t *testing.T, dir string) func() error {
		ballast := fill(t, dir)
		return func() error { return os.Remove(ballast) }
	},
	"out of inodes": func(t *testing.T, dir string) func() error {
		n := 0
		for ; n < 100_000; n++ {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("inode-", n)), nil, 0o600); err != nil {
				break
			}
		}
		return func() (err error) {
			for i := range n {
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
	whole := filled(t, 40, 20_000)
	for name, breakIt := range unwritable {
		t.Run(name, func(t *testing.T) {
			dir := small(t)
			path := filepath.Join(dir, "queue.db")
			bad := append([]byte(nil), whole...)
			clear(bad[5*pageSize : 6*pageSize])
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

// TestFileLostOnADiskThatCannotBeWritten under the agent: what is in memory does
// not wait behind what is gone, and what is gone is declared.
func TestFileLostOnADiskThatCannotBeWritten(t *testing.T) {
	for _, left := range []int64{0, 20480} {
		for _, name := range []string{"full", "out of inodes"} { // no disk with an open file turns read-only but by an error
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
