package queue

import (
	"errors"
	"time"
)

// purgeTimeout is how long Purge waits for the disk: a person waits for the answer.
// Adopt waits as long beyond the time at which a commit is due.
const purgeTimeout = 5 * time.Second

// Purge gives up every reading and event that waits, and all that was rejected.
// What Peek has returned stays, with the block that it lies in: it may be on its
// way. Gaps declare the readings. Purge waits at most 5 s for the disk, and
// returns how many it has dropped, also with an error.
func (q *Queue) Purge() (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.counts.dropped
	err = q.purgeLocked()
	q.storage.purging = false
	return int(q.counts.dropped - before), err
}

// purgeLocked drops what is in memory, and waits for the commit that drops what
// is on disk.
func (q *Queue) purgeLocked() error {
	timeout := time.NewTimer(purgeTimeout)
	defer timeout.Stop()
	for q.storage.writing { // the commit under way holds what is in memory
		if err := q.awaitCommitLocked(timeout.C); err != nil {
			return err
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
	q.storage.purging = true
	signal(q.work)
	for q.storage.purging && q.opened.file != nil {
		if q.storage.failing {
			return errDiskFails
		}
		if err := q.awaitCommitLocked(timeout.C); err != nil {
			return err
		}
	}
	return nil
}

// errDiskFails is for the person who asked for a purge or an adoption.
var errDiskFails = errors.New("the disk fails: what is on it stays")

// awaitCommitLocked waits for the end of a commit, or of the timeout. It gives up
// the lock while it waits: what the caller knew of the backlog may have changed.
// After Run has returned it commits itself.
func (q *Queue) awaitCommitLocked(timeout <-chan time.Time) (err error) {
	tried := q.storage.commitEnded
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-tried:
		return nil
	case <-q.stopped:
		return writer{q}.commit(true)
	case <-timeout:
		return errDiskFails
	}
}
