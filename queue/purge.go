package queue

import (
	"errors"
	"time"
)

// purgeTimeout is how long Purge waits for the disk, because a person waits for the
// answer. Adopt waits for SyncEvery and this time.
const purgeTimeout = 5 * time.Second

// Purge drops all readings and events that wait, and all rejected items, and declares the
// readings as gaps. Items that Peek has returned are kept, with all others of their
// block, because they may be in flight. Purge waits at most 5 s for the disk. It returns
// the number of items that it dropped, also with an error.
func (q *Queue) Purge() (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.counts.dropped
	err = q.purgeLocked()
	q.storage.purging = false
	return int(q.counts.dropped - before), err
}

// purgeLocked drops the items in memory and waits for the commit that drops those on disk.
func (q *Queue) purgeLocked() error {
	timeout := time.NewTimer(purgeTimeout)
	defer timeout.Stop()
	for q.storage.writing { // the commit in progress contains the items in memory
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

// errDiskFails is what the person sees who asked for a purge or an adoption.
var errDiskFails = errors.New("the disk fails: what is on it stays")

// awaitCommitLocked waits until a commit ends or the timeout passes. It releases the lock
// while it waits, so the backlog may have changed when it returns. After Run has returned
// it commits itself.
func (q *Queue) awaitCommitLocked(timeout <-chan time.Time) (err error) {
	ended := q.storage.commitEnded
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-ended:
		return nil
	case <-q.stopped:
		return writer{q}.commit(true)
	case <-timeout:
		return errDiskFails
	}
}
