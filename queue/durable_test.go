package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
			first := func() []byte { k, _ := tx.Bucket(bucketLanes[p]).Cursor().First(); return k }
			for k := first(); k != nil; k = first() {
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

// TestFailedCommitReadsNothingMore: bbolt would walk the whole file then, in a
// goroutine of its own, and a fault there ends the process.
func TestFailedCommitReadsNothingMore(t *testing.T) {
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
			// no write succeeds
			return errors.Join(err, syscall.Dup3(int(reader.Fd()), int(f.db.lock.Fd()), syscall.O_CLOEXEC))
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

// Whoever may write to the folder of the queue does not lead the agent to a
// file elsewhere, and does not hold it up.
func TestAStateFileIsNotWrittenThroughALinkOrAPipe(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "starts")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func() error{
		"a link to a file, in the place of the part": func() error { return os.Symlink(victim, path+".new") },
		"a link to nowhere": func() error {
			return os.Symlink(filepath.Join(dir, "made"), path+".new")
		},
		"a pipe": func() error { return syscall.Mkfifo(path+".new", 0o600) },
		"what a power cut left": func() error {
			return os.WriteFile(path+".new", []byte("old and long"), 0o600)
		},
		"a link in the place of the file itself": func() error { os.Remove(path); return os.Symlink(victim, path) },
		"a hard link":                            func() error { return os.Link(victim, path+".new") },
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		if err := replaceFile(path, []byte("7\n")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := readStateFile(path); string(text) != "7\n" {
			t.Errorf("%s: got %q, %v", name, text, err)
		}
		if text, _ := os.ReadFile(victim); string(text) != "precious" {
			t.Fatalf("%s: another file was written: %q", name, text)
		}
		if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
			t.Errorf("%s: a file was made elsewhere", name)
		}
	}
}

func TestOnlyARegularStateFileIsRead(t *testing.T) {
	dir := t.TempDir()
	pipe, link, folder := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "folder")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, folder} {
		if text, err := readStateFile(path); err == nil {
			t.Errorf("%s: got %q", path, text)
		}
	}
}

// The new file of the queue is not made through a link either.
func TestNewFileIsNotCreatedThroughALink(t *testing.T) {
	dir := t.TempDir()
	elsewhere, part := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "queue.db.new")
	if err := os.Symlink(elsewhere, part); err != nil {
		t.Fatal(err)
	}
	if d, err := openDB(part); err == nil {
		d.Close()
		t.Error("a file was made through a link")
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("a file was made elsewhere")
	}
}
