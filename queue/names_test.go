package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A nameDisk loses the names of a folder that were not synced: what a power cut
// leaves is what the folder listed when it was synced last, each name with the
// file that it had then, and that file's present content.
type nameDisk struct {
	dir, files string // files has a link to each file, by inode
	names      map[string]uint64
	syncs      int
}

// onNameDisk puts a queue's folder on such a disk.
func onNameDisk(t *testing.T, path string) *nameDisk {
	t.Helper()
	d := &nameDisk{dir: filepath.Dir(path), files: t.TempDir()}
	bare := syncDir
	t.Cleanup(func() { syncDir = bare })
	syncDir = func(dir string) error {
		if dir == d.dir {
			if err := d.note(); err != nil {
				t.Error(err)
			}
		}
		return bare(dir)
	}
	if err := d.note(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *nameDisk) note() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	d.syncs++
	d.names = map[string]uint64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		inode := info.Sys().(*syscall.Stat_t).Ino
		d.names[e.Name()] = inode
		err = os.Link(filepath.Join(d.dir, e.Name()), d.file(inode))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

func (d *nameDisk) file(inode uint64) string { return filepath.Join(d.files, fmt.Sprint(inode)) }

// cut makes a folder of what is left.
func (d *nameDisk) cut(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, inode := range d.names {
		b, err := os.ReadFile(d.file(inode))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "queue.db")
}

// TestMovedFileSurvivesAPowerCut: its name is on disk when moveFile returns.
func TestMovedFileSurvivesAPowerCut(t *testing.T) {
	path := queuePath(t)
	if err := os.WriteFile(path+".new", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := onNameDisk(t, path)
	if err := moveFile(path+".new", path); err != nil {
		t.Fatal(err)
	}
	after := d.cut(t)
	if b, err := os.ReadFile(after); string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(after + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old name is back: %v", err)
	}
}

// TestReplacedFileSurvivesAPowerCut: the first, and one in the place of a file
// that has grown. Nothing else syncs the folder afterwards.
func TestReplacedFileSurvivesAPowerCut(t *testing.T) {
	path := queuePath(t)
	d := onNameDisk(t, path)
	outer := t // whose folders stay until the end
	var after string
	synctest.Test(t, func(t *testing.T) {
		h := startWith(t, Options{Path: path, MaxSize: 64 << 20, SyncEvery: 5 * time.Second})
		h.Put(alarm(1))
		if got := readingsIn(t, d.cut(outer)); got != 1 {
			t.Errorf("%d alarms after the first start, want 1", got)
		}
		before := h.large(t)
		h.all(t)
		time.Sleep(5 * time.Minute)
		if info, err := os.Stat(path); err != nil || os.SameFile(info, before) {
			t.Fatalf("the file was not replaced: %v", err)
		}
		h.Put(alarm(2))
		after = d.cut(outer)
		h.end()
	})
	if got := readingsIn(t, after); got != 1 {
		t.Errorf("%d alarms in the new file, want 1", got)
	}
}

// TestAnAdoptedFileStaysDeleted: its name is gone from the disk, too.
func TestAnAdoptedFileStaysDeleted(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	d := onNameDisk(t, path)
	outer := t // whose folders stay until the end
	var after string
	synctest.Test(t, func(t *testing.T) {
		h := startAs(t, path, "cellar")
		if _, err := h.Adopt("porch"); err != nil {
			t.Error(err)
		}
		after = d.cut(outer)
		h.end()
	})
	if others := Others(after); len(others) > 0 {
		t.Errorf("back: %+v", others)
	}
	if got := readingsIn(t, after); got != 3002 {
		t.Errorf("%d readings, want 3002", got)
	}
}

func readingsIn(t *testing.T, path string) int {
	t.Helper()
	n := 0
	_, err := Inspect(path, func(it Item) error {
		if it.Event == "" {
			n++
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return n
}
