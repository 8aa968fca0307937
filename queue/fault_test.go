package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// blockPage makes a page of the mapping fault, as a page does that the card can
// not read any more, until the mapping goes.
func blockPage(t *testing.T, d *db, page int) {
	t.Helper()
	at := d.Info().Data + uintptr(page*pageSize)
	if _, _, errno := syscall.Syscall(syscall.SYS_MPROTECT, at, pageSize, syscall.PROT_NONE); errno != 0 {
		t.Fatal(errno)
	}
}

// within fails where a call does not end: in bbolt, for a lock of its own.
func within(t *testing.T, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); call() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not end", what)
	}
}

// TestFaultAtAnyPageOfAnyCall makes each page fault under each call of bbolt's
// that a running agent makes. The call fails or does not; the file can then be
// closed and opened again, and holds what it held.
func TestFaultAtAnyPageOfAnyCall(t *testing.T) {
	whole := filled(t, 40, 6000)
	pages := len(whole) / pageSize
	if pages < 8 {
		t.Fatalf("only %d pages: the test tests nothing", pages)
	}
	put := func(tx *bbolt.Tx) error {
		for p := range bucketLanes {
			for k, _ := tx.Bucket(bucketLanes[p]).Cursor().First(); k != nil; k, _ = tx.Bucket(bucketLanes[p]).Cursor().First() {
				if err := tx.Bucket(bucketLanes[p]).Delete(k); err != nil {
					return err
				}
			}
		}
		return tx.Bucket(bucketMeta).Put([]byte("fault"), make([]byte, 100))
	}
	calls := map[string]func(f *file) error{
		"begin":  func(f *file) error { return f.update(func(*bbolt.Tx) error { return nil }) },
		"change": func(f *file) error { return f.update(put) },
		"fails": func(f *file) error {
			return f.update(func(tx *bbolt.Tx) error { return errors.Join(put(tx), syscall.ENOSPC) })
		},
		"view":  func(f *file) error { _, err := f.loadState([2]uint64{}); return err },
		"close": func(f *file) error { return f.close() },
	}
	path := queuePath(t)
	faults := map[string]int{}
	for name, call := range calls {
		for page := range pages {
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := openFile(path, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			blockPage(t, f.db, page)
			within(t, fmt.Sprintf("%s with a fault at page %d", name, page), func() {
				if err := call(f); errors.Is(err, syscall.EIO) {
					faults[name]++
				}
				if name == "close" {
					return
				}
				if sound, err := f.reopen(); err != nil || !sound {
					t.Errorf("%s with a fault at page %d: opened again: sound %v, %v", name, page, sound, err)
				}
				f.close()
			})
			h := start(t, path)
			want := 6040
			if n := h.Stats().Backlog; n != want && name != "change" {
				t.Errorf("%s with a fault at page %d: %d of %d readings are left", name, page, n, want)
			}
			h.end()
		}
	}
	if faults["begin"] < 2 || faults["change"] < 6 || faults["fails"] < 6 || faults["view"] > 0 || faults["close"] > 0 {
		t.Errorf("of %d pages, so many faults were met: %v", pages, faults)
	}
}

// TestCommitThatFailsReadsNothingMore: bbolt would walk the whole file then, in a
// goroutine of its own, and a fault there ends the process.
func TestCommitThatFailsReadsNothingMore(t *testing.T) {
	path := queuePath(t)
	whole := filled(t, 40, 6000)
	for page := range len(whole) / pageSize {
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openFile(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		reader, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		err = f.update(func(tx *bbolt.Tx) error {
			blockPage(t, f.db, page)
			err := tx.Bucket(bucketMeta).Put([]byte("fault"), make([]byte, 100))
			return errors.Join(err, syscall.Dup3(int(reader.Fd()), int(f.db.lock.Fd()), syscall.O_CLOEXEC)) // no write succeeds
		})
		if err == nil {
			t.Errorf("page %d: the commit did not fail", page)
		}
		within(t, fmt.Sprintf("opening again after a fault at page %d", page), func() {
			if sound, err := f.reopen(); err != nil || !sound {
				t.Errorf("page %d: opened again: sound %v, %v", page, sound, err)
			}
			f.close()
		})
		reader.Close()
	}
}

// TestFullDiskIsTheErrorOfACommit, also where bbolt keeps only its text: what
// follows depends on it.
func TestFullDiskIsTheErrorOfACommit(t *testing.T) {
	dir := small(t)
	f, err := openFile(dir+"/queue.db", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	fill(t, dir)
	err = f.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("large"), make([]byte, 1<<18)) })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}
