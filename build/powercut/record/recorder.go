//go:build powercut

// Package record runs a queue on a patched disk and records what it does.
// build/powercut/run builds it with the tag powercut, an overlay for package os and a copy
// of bbolt: see patch. The operations of a life are in life_test.go, because virtual time
// (testing/synctest) needs a test.
package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/disk"
	"github.com/holdfast-iot/holdfast/build/powercut/promise"
)

// A Recorder records the operations on the files of one folder.
type Recorder struct {
	dir   string
	start time.Time

	mu    sync.Mutex
	rec   disk.Recording
	names map[string]int   // numbers of the files, as the program sees them
	open  map[*os.File]int // which file a handle is of
	files int              // number of files so far
	err   error            // why the recording is not usable
}

// New starts to record the operations in a folder that contains base.
func New(dir string, base []disk.File, kept []promise.Fact) *Recorder {
	r := &Recorder{
		dir: dir, start: time.Now(),
		rec:   disk.Recording{Base: base, Kept: kept},
		names: map[string]int{".": disk.Folder},
		open:  map[*os.File]int{},
		files: len(base),
	}
	for i, f := range base {
		r.names[f.Name] = i + 1
	}
	return r
}

// Note records a fact.
func (r *Recorder) Note(f promise.Fact) {
	f.At = time.Since(r.start)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(disk.Event{Op: disk.Note, Fact: f})
}

// Recording returns the recording, or an error if something could not be recorded. The
// files must equal the result of the recording, otherwise an operation was missed.
func (r *Recorder) Recording() (*disk.Recording, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	entries, readErr := os.ReadDir(r.dir)
	err = errors.Join(err, readErr)
	all := disk.Before(&r.rec, len(r.rec.Events), false).All()
	if len(all) != len(entries) {
		err = errors.Join(err, fmt.Errorf("%d files recorded, %d there", len(all), len(entries)))
	}
	for _, f := range all {
		data, readErr := os.ReadFile(filepath.Join(r.dir, f.Name))
		err = errors.Join(err, readErr)
		if !slices.Equal(data, f.Data) {
			err = errors.Join(err, fmt.Errorf("%s was changed in a way that was not recorded", f.Name))
		}
	}
	return &r.rec, err
}

// inside is the name of a path in the folder.
func (r *Recorder) inside(path string) (name string, ok bool) {
	name, err := filepath.Rel(r.dir, path)
	return name, err == nil && filepath.IsLocal(name)
}

func (r *Recorder) addLocked(e disk.Event) {
	e.Time = time.Since(r.start)
	r.rec.Events = append(r.rec.Events, e)
}

// opened records that a file was created or truncated by opening it.
func (r *Recorder) opened(name string, flag int, f *os.File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, known := r.names[name]
	switch {
	case !known:
		r.files++
		n = r.files
		r.names[name] = n
		r.addLocked(disk.Event{Op: disk.Create, File: n, Name: name})
	case flag&os.O_TRUNC != 0:
		r.addLocked(disk.Event{Op: disk.Truncate, File: n})
	}
	r.open[f] = n
}

func (r *Recorder) moved(op disk.Op, name, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[name]
	delete(r.names, name)
	if op == disk.Rename {
		r.names[to] = n
	}
	r.addLocked(disk.Event{Op: op, File: n, Name: name, To: to})
}

// changed records an event of an open file in the folder.
func (r *Recorder) changed(f *os.File, e disk.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ours := r.open[f]
	if !ours {
		return
	}
	e.File, e.Data = n, slices.Clone(e.Data)
	r.addLocked(e)
}

// upto is the number of the next event: a sync that starts now covers the events before it.
func (r *Recorder) upto() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rec.Events)
}

// cannot marks the recording as not usable.
func (r *Recorder) cannot(op, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, fmt.Errorf("cannot record %s %s: %w", op, path, err))
}

// errUnknown is for operations that the model does not have.
var errUnknown = errors.New("not modelled")

// missing reports whether the operation did not happen because of a missing or existing
// file.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) }
