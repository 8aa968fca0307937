package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
)

// An adoption moves what waits in another file into a queue, a block at a time: a
// backlog of days has to fit into the memory of a Pi. It belongs to the goroutine
// that calls Adopt; only the queue behind it is shared.
type adoption struct {
	*Queue
	path       string
	file       *os.File  // holds the lock
	generation int       // Queue.opened.generation, when it began: last are numbers of that file
	from       snapshot  // of file
	declared   []Gap     // with what damage has taken from the file
	cursors    [2]uint64 // by lane: what is older is acknowledged, or was taken
	n          int       // items taken
	last       [2]uint64 // by lane: our number of the last that was taken
}

// ErrNoBacklog means that no backlog of a client ID was moved aside.
var ErrNoBacklog = errors.New("no backlog of this client ID lies beside the queue")

// Adopt takes over what waits in the files of another client ID that were moved
// aside, also what the broker rejected there, behind what waits here. It is sent
// under our client ID, and the files are deleted. If it fails, some may be here
// and there: then adopting again makes copies, as a crash does. It returns how
// many readings and events it took.
func (q *Queue) Adopt(clientID string) (n int, err error) {
	found := false
	for _, o := range Others(q.opt.Path) {
		if o.ClientID != clientID {
			continue
		}
		found = true
		more, err := q.adoptFile(o)
		if n += more; err != nil {
			return n, fmt.Errorf("adopt %s: %w", o.Path, err)
		}
	}
	if !found {
		return 0, fmt.Errorf("%w: %s", ErrNoBacklog, clientID)
	}
	return n, nil
}

// adoptFile adopts one file. It deletes the file only when all that was in it is on
// our disk or acknowledged. It returns how many items it took, also with an error.
func (q *Queue) adoptFile(o Other) (n int, err error) {
	a, err := beginAdoption(q, o.Path)
	if err != nil {
		return 0, err
	}
	defer a.file.Close()
	if err = a.take(); err == nil {
		err = a.finish()
	}
	if err != nil {
		return a.n, err
	}
	q.log.Info("the backlog of another client ID was adopted", "client_id", o.ClientID, "file", o.Path, "items", a.n)
	q.Report(sensors.Event{Name: "storage", At: q.opt.Clock.Now(),
		Details: json.RawMessage(jsonObject("state", "adopted", "client_id", o.ClientID, "items", a.n))})
	return a.n, nil
}

// beginAdoption opens the other file, which nobody may have open.
func beginAdoption(q *Queue, path string) (*adoption, error) {
	file, size, err := openSized(path)
	if err != nil {
		return nil, err
	}
	a := &adoption{Queue: q, path: path, file: file}
	if err = a.check(size); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, nil
}

// check refuses what cannot be adopted before anything of it is taken: there has to
// be a file of our own that can be written, nobody may have the other one open, and
// its structure has to be sound. What fails its checksum in a sound file is
// declared, as at an opening.
func (a *adoption) check(size int64) error {
	a.mu.Lock()
	memoryOnly := a.Queue.opened.file == nil
	a.generation = a.Queue.opened.generation
	a.mu.Unlock()
	if memoryOnly {
		return errDiskFails
	}
	if err := lockExclusive(a.file); err != nil {
		return err
	}
	if err := verify(a.file, size); err != nil {
		return err
	}
	s, err := scanDamaged(a.path)
	if err != nil {
		return err
	}
	// What was acknowledged before the first block is not known here: the file is
	// another agent's.
	s.declare([2]seqs{})
	a.declared = s.gaps
	if a.from.file, err = pages.Open(a.file, size); err != nil {
		return err
	}
	a.cursors, err = a.from.meta(&Contents{})
	return err
}

// take puts everything into the lanes, and the gaps into the list.
func (a *adoption) take() error {
	for _, p := range laneOrder {
		visit := func(_, value []byte) (bool, error) {
			r, err := decode(value)
			if err != nil {
				return true, nil // a gap tells of it
			}
			n := countBelow(r.items, a.cursors[p])
			a.cursors[p] = max(a.cursors[p], r.last()+1)
			return true, a.put(r.items[n:], r.gaps)
		}
		err := a.from.file.Each(string(bucketLanes[p]), key(a.cursors[p]), visit)
		if err == nil {
			err = a.from.file.Each(string(bucketTails[p]), nil, visit)
		}
		if err != nil {
			return err
		}
	}
	err := a.from.file.Each(string(bucketRejects), nil, func(key, value []byte) (bool, error) {
		it, err := decodeRejected(number(key), value)
		if err != nil {
			return true, nil
		}
		return true, a.put([]Item{it}, nil)
	})
	if err == nil {
		err = a.put(nil, a.declared)
	}
	return err
}

// put adds items to their lanes. It waits while memory holds many: what does
// not fit there would be dropped.
func (a *adoption) put(items []Item, gaps []Gap) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for part := range slices.Chunk(items, blockItems) {
		if a.isStopped() {
			return errStopping
		}
		err := a.awaitLocked(func() bool { return a.lanes[0].mem.len()+a.lanes[1].mem.len() < spillEarly })
		if err != nil {
			return err
		}
		for _, it := range part {
			it.At = a.from.boots.Resolve(it.At)
			it.rejected, it.declared, it.number = false, false, 0
			a.last[it.Priority] = a.pushLocked(it)
			a.n++
		}
	}
	for _, g := range gaps {
		a.gaps.merge(g) // it may be here from an adoption that failed
		signal(a.arrived)
	}
	return nil
}

// finish waits until all is on disk or acknowledged, and deletes the file.
func (a *adoption) finish() error {
	a.mu.Lock()
	err := a.awaitLocked(func() bool {
		for p, last := range a.last {
			if l := &a.lanes[p]; last > l.onDisk() && last >= l.first {
				return false
			}
		}
		return !a.gaps.dirty && !a.storage.writing // a commit clears the mark when it begins
	})
	a.mu.Unlock()
	// A crash before this line makes copies, one after it loses nothing.
	if err == nil {
		err = os.Remove(a.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(a.path))
	}
	return err
}

// What ends an adoption before everything was taken. Both are for the person who
// asked for it.
var (
	errStopping = errors.New("the agent stops: adopt the backlog again after it has started")
	errOpened   = errors.New("the queue file was lost or replaced meanwhile: adopt the backlog again")
)

// isStopped reports whether Run has returned: then nobody writes but Close.
func (q *Queue) isStopped() bool {
	select {
	case <-q.stopped:
		return true
	default:
		return false
	}
}

// awaitLocked waits for commits until something is so. In another queue file the
// numbers mean nothing, and what was written before may be gone.
func (a *adoption) awaitLocked(done func() bool) error {
	timeout := time.NewTimer(a.opt.SyncEvery + purgeTimeout)
	defer timeout.Stop()
	for {
		switch {
		case a.generation != a.Queue.opened.generation:
			return errOpened
		case done():
			return nil
		case a.storage.failing:
			return errDiskFails
		}
		signal(a.work)
		if err := a.awaitCommitLocked(timeout.C); err != nil {
			return err
		}
	}
}
