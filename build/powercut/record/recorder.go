//go:build powercut

// Package record runs a queue on a patched disk and writes down what it does.
// It is built by build/powercut/run with the tag powercut, an overlay for
// package os and a copy of bbolt: see patch. What a life consists of is in
// life_test.go, a test because virtual time (testing/synctest) needs one.
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

// A Recorder writes down what happens to the files of one folder.
type Recorder struct {
	dir   string
	start time.Time

	mu    sync.Mutex
	rec   disk.Recording
	names map[string]int   // as the program sees them
	open  map[*os.File]int // which file a handle is of
	files int              // numbers given
	err   error            // what cannot be recorded
}

// New records from now on what happens in a folder that holds what base says.
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

// Recording returns what was recorded, or what could not be. The files must
// be what the recording makes of them, or something has gone past it.
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

// opened records a new file, or one that was emptied, and whose handle it is.
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

// changed records an event of an open file, if it is one of ours.
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

// upto is the number of the next event: what a sync that begins now covers.
func (r *Recorder) upto() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rec.Events)
}

// cannot says that the recording is worthless.
func (r *Recorder) cannot(op, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, fmt.Errorf("cannot record %s %s: %w", op, path, err))
}

// errUnknown is for what a disk does not do here.
var errUnknown = errors.New("not modelled")

// missing says that the change did not happen, for want of a file.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) }
