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

// An adoption moves the backlog of another file into a queue, one block at a time: the
// backlog of several days may not fit into the memory of a Pi. Only the goroutine that
// calls Adopt uses it; the fields of the embedded Queue are guarded by Queue.mu.
type adoption struct {
	*Queue
	path       string
	file       *os.File  // holds the file lock
	generation int       // Queue.opened.generation at the start: last has numbers of that file
	from       snapshot  // of file
	declared   []Gap     // gaps of the file, with those for its damaged blocks
	cursors    [2]uint64 // by lane: lower numbers are acknowledged or were adopted
	n          int       // items adopted
	last       [2]uint64 // by lane: the number that the last adopted item got in our queue
}

// ErrNoBacklog means that there is no file with a backlog of the client ID.
var ErrNoBacklog = errors.New("no backlog of this client ID lies beside the queue")

// Adopt moves the backlog of another client ID, from the files that were moved aside,
// into this queue, with the rejected items and after everything that waits here. It is
// sent with our client ID. The files are deleted once their content is on our disk. After
// an error or a crash some items may be in both places: another Adopt then sends them a
// second time. It returns the number of readings and events that it moved.
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

// adoptFile adopts one file, and deletes it once everything in it is on our disk or
// acknowledged. It returns the number of items that it moved, also with an error.
func (q *Queue) adoptFile(o Other) (n int, err error) {
	a, err := beginAdoption(q, o.Path)
	if err != nil {
		return 0, err
	}
	defer a.file.Close()
	if err = a.moveItems(); err == nil {
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

// beginAdoption opens and locks the other file.
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

// check returns why the file cannot be adopted, before anything is moved: our own queue
// has no file, another process has the other file open, or its structure is damaged.
// Blocks that fail their checksum are declared as gaps, as when a queue is opened.
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
	// The seqs acknowledged before the first block are unknown: another agent wrote the file.
	s.declare([2]seqs{})
	a.declared = s.gaps
	if a.from.file, err = pages.Open(a.file, size); err != nil {
		return err
	}
	a.cursors, err = a.from.meta(&Contents{})
	return err
}

// moveItems adds the items of the file to the lanes, and its gaps to the list of gaps.
func (a *adoption) moveItems() error {
	for _, p := range laneOrder {
		visit := func(_, value []byte) (bool, error) {
			r, err := decode(value)
			if err != nil {
				return true, nil // check has declared it as a gap
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
		if it.Event == gapEvent { // in a lane nothing would acknowledge it: its Seq is not of our events
			gaps, err := decodeGaps([]byte("[" + it.Details + "]"))
			if err != nil {
				return true, nil
			}
			return true, a.put(nil, gaps)
		}
		return true, a.put([]Item{it}, nil)
	})
	if err == nil {
		err = a.put(nil, a.declared)
	}
	return err
}

// put adds items to their lanes, and gaps to the list. It waits for commits while many
// items are in memory, because items that do not fit into memory would be dropped.
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
		a.gaps.merge(g) // an adoption that failed may have added it before
		signal(a.arrived)
	}
	return nil
}

// finish waits until all adopted items are on disk or acknowledged, and deletes the file.
func (a *adoption) finish() error {
	a.mu.Lock()
	err := a.awaitLocked(func() bool {
		for p, last := range a.last {
			if l := &a.lanes[p]; last > l.onDisk() && last >= l.first {
				return false
			}
		}
		return !a.gaps.dirty && !a.storage.writing // a commit clears dirty when it begins
	})
	a.mu.Unlock()
	// After a crash before this line another Adopt makes duplicates. Nothing is ever lost.
	if err == nil {
		err = os.Remove(a.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(a.path))
	}
	return err
}

// Reasons for an adoption to stop early. The person who asked for it sees them.
var (
	errStopping = errors.New("the agent stops: adopt the backlog again after it has started")
	errOpened   = errors.New("the queue file was lost or replaced meanwhile: adopt the backlog again")
)

// isStopped reports whether Run has returned: then only Close writes to disk.
func (q *Queue) isStopped() bool {
	select {
	case <-q.stopped:
		return true
	default:
		return false
	}
}

// awaitLocked waits, commit by commit, until done returns true. It fails if the queue
// opens another file meanwhile: numbers of the old file are meaningless in it, and items
// that were written to the old file may be lost.
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
