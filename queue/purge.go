package queue

import (
	"errors"
	"time"
)

// purgePatience is how long Purge waits for the disk.
const purgePatience = 5 * time.Second

// Purge gives up every reading and event that waits, but for what was handed
// out and the block that it lies in, and all that was set aside; it declares gaps
// for the readings, and returns how many there were.
func (q *Queue) Purge() (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.counts.dropped
	patience := time.NewTimer(purgePatience)
	defer patience.Stop()
	defer func() { q.writer.purging, n = false, int(q.counts.dropped-before) }()
	for q.writer.writing { // it holds what is in memory
		if err := q.awaitCommitLocked(patience.C); err != nil {
			return 0, err
		}
	}
	for p := range q.lanes {
		l := &q.lanes[p]
		for l.mem.len() > 0 && l.mem.items()[0].number > l.issued {
			it := l.dropOldestInMemory()
			q.droppedLocked(1, gapsOf(run{items: []Item{it}}), purged)
		}
	}
	q.purgeRejectsLocked()
	q.writer.purging = true
	signal(q.work)
	for q.writer.purging && q.opened.file != nil {
		if q.writer.failing {
			return 0, errDiskFails
		}
		if err := q.awaitCommitLocked(patience.C); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

var errDiskFails = errors.New("the disk fails: what is on it stays")

// awaitCommitLocked waits for the end of a commit, or of the patience.
func (q *Queue) awaitCommitLocked(patience <-chan time.Time) (err error) {
	tried := q.writer.commitEnded
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-tried:
		return nil
	case <-q.stopped:
		return q.commit(true)
	case <-patience:
		return errDiskFails
	}
}
