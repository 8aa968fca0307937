package queue

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	idleCursor     = time.Minute     // how long acknowledged alarms may be missing in the file's cursor
	retryStorage   = 5 * time.Second // between attempts while the disk fails
	checkFileEvery = time.Minute     // between two checks that the file is still at its path
	flushLimit     = 5 * time.Minute // for one flush, as told to Progress; a slow card needs two for a purge

	// A tail may take so many bytes: together with its key it must fit into a
	// quarter of a page, or bbolt gives it pages of its own.
	maxTail = 900

	// A block takes no more bytes, unless one reading does: package pages reads
	// no value of over a mebibyte, because a damaged file may claim anything.
	maxBlock = 64 << 10

	maxEncode = 8 * blockItems // readings of a lane in one commit: half a millisecond here
)

// A writer moves the backlog to disk. It decides when to commit, opens the file, and opens
// it again after a failure. It runs in one goroutine at a time: that of Open, then that of
// Run, then that of Close. Only this goroutine writes the file and replaces
// openedFile.file, so it may read this field without the lock.
type writer struct{ *Queue }

// Run moves readings to disk when they are due, until ctx is done, and returns the error of
// ctx. It may be called once.
func (q *Queue) Run(ctx context.Context) error {
	defer close(q.stopped)
	w := writer{q}
	progress := q.opt.Progress
	if progress == nil {
		progress = func(time.Duration) {}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := time.Duration(0); ; {
		progress(wait + time.Second)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.work:
		case <-timer.C:
		}
		if w.due() <= 0 {
			progress(flushLimit)
			w.flush()
			if w.burstEnded() {
				debug.FreeOSMemory()
			}
		}
		wait = max(w.due(), 0)
		timer.Reset(wait)
	}
}

// burstEnded reports, once for each burst, that the readings of a burst have left memory.
// Their buffers are garbage then. The runtime would collect them up to two minutes later
// and keep the memory: 30 MB of the 512 MB of a small board.
func (w writer) burstEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	inMemory := w.lanes[0].mem.len() + w.lanes[1].mem.len()
	if !w.storage.burst || inMemory >= burstOver {
		return false
	}
	w.storage.burst, w.storage.crowded = false, false
	return true
}

// due returns how long the writer may wait; 0 or less: it has to flush now.
func (w writer) due() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.storage
	if w.opened.file == nil {
		return time.Until(s.lastCommit.Add(retryStorage))
	}
	alarms := &w.lanes[sensors.Alarm]
	if len(alarms.unsynced()) > 0 && alarms.attempted < alarms.next {
		return 0 // even while the disk fails: Put waits for the answer
	}
	d := deadline{at: s.fileChecked.Add(checkFileEvery)}
	if s.failing {
		d.notBefore = s.lastCommit.Add(retryStorage)
	}
	d.addFileLocked(&w.backlog)
	d.addItemsLocked(&w.backlog)
	d.addMetaLocked(&w.backlog)
	return time.Until(d.at)
}

// A deadline is the earliest of several times.
type deadline struct {
	at        time.Time
	notBefore time.Time // while the disk fails: what is due then is tried again at this time
}

// include moves the deadline to t if t is earlier; while the disk fails, not before
// notBefore.
func (d *deadline) include(t time.Time) {
	if t.Before(d.notBefore) {
		t = d.notBefore
	}
	if t.Before(d.at) {
		d.at = t
	}
}

// addFileLocked includes when the file has to be opened again or purged.
func (d *deadline) addFileLocked(b *backlog) {
	s := &b.storage
	if s.readFailed {
		d.include(later(s.lastCommit, s.fileChecked.Add(retryStorage)))
	}
	if s.purging || s.failing { // after a commit that failed the file is closed, and what is in it waits
		d.include(s.lastCommit)
	}
}

// addItemsLocked includes when items that are only in memory are due.
func (d *deadline) addItemsLocked(b *backlog) {
	if len(b.lanes[sensors.Alarm].unsynced()) > 0 {
		d.include(b.storage.lastCommit)
	}
	if len(b.lanes[sensors.Routine].unsynced()) > 0 {
		d.include(b.routineDueLocked())
	}
	if n := len(b.rejects.pending); n >= rejectsEarly {
		d.include(b.storage.lastCommit)
	} else if n > 0 {
		d.include(b.rejects.due)
	}
}

// addMetaLocked includes when gaps, clock and cursors are due. They are not written while
// nothing waits on disk, except for the cursor of routine readings.
func (d *deadline) addMetaLocked(b *backlog) {
	alarms, routine := &b.lanes[sensors.Alarm], &b.lanes[sensors.Routine]
	timeline := b.storage.timelineChanged(b.opt.Clock) && (routine.waitingOnDisk() || alarms.waitingOnDisk())
	if b.gaps.dirty || timeline || routine.dirty() || alarms.dirty() && alarms.waitingOnDisk() {
		d.include(b.storage.lastCommit.Add(b.opt.SyncEvery))
	}
	if alarms.dirty() || len(b.rejects.acked) > 0 {
		d.include(b.storage.lastCommit.Add(idleCursor))
	}
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flush commits. If the file could not be opened before, it opens it first; if the
// last commit failed, it opens it again. What fails is logged and reported once, and
// tried again after retryStorage.
func (w writer) flush() {
	var err error
	switch {
	case w.opened.file == nil:
		if err = w.openFile(); err == nil {
			err = w.opened.file.readOnly()
		}
	default:
		if wrong, unreadable := w.needsReopen(); wrong {
			err = w.reopen(unreadable)
		}
	}
	if err == nil {
		if err = w.commit(false); err != nil {
			return // doneLocked has logged it
		}
		err = w.shrink()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.storageLocked(nil) // also where there was nothing to write
		return
	}
	// There was no commit, but those who wait for one must not wait for retryStorage.
	w.storage.lastCommit = time.Now()
	w.storageLocked(err)
	for p := range w.lanes {
		w.lanes[p].attempted = w.lanes[p].next
	}
	w.storage.wakeWaiting()
}

// needsReopen reports whether the file has to be opened again, and whether a read of it has
// failed. It clears storage.readFailed.
func (w writer) needsReopen() (wrong, unreadable bool) {
	wrong = w.opened.file.inPlace() != nil
	w.mu.Lock()
	defer w.mu.Unlock()
	unreadable = w.storage.readFailed
	w.storage.fileChecked, w.storage.readFailed = time.Now(), false
	return wrong || unreadable || w.storage.failing, unreadable
}

// reopen opens the file again and makes room in it. If the file can be neither written nor
// read, the queue works without it until it can be, so that readings in memory do not wait.
func (w writer) reopen(unreadable bool) error {
	err := w.reconcile()
	// If the file can still be read it is kept, and its readings are sent.
	if err != nil && unreadable {
		w.opened.file.unlockReader()
		if failed := w.openFile(); failed == nil {
			err = nil
		} else {
			w.mu.Lock()
			w.detachLocked()
			w.mu.Unlock()
		}
	}
	if err == nil {
		err = w.opened.file.readOnly()
	}
	if err == nil {
		err = w.commitChange(planAcksLocked)
	}
	return err
}

// shrink replaces a file that has grown and is empty, because bbolt never shrinks a file.
func (w writer) shrink() error {
	w.mu.Lock()
	var c change
	for p := range w.lanes {
		l := &w.lanes[p]
		c.lanes[p].cursor = l.cursor()
		if l.waiting() > 0 || len(w.rejects.pending)+len(w.rejects.acked) > 0 {
			w.mu.Unlock()
			return nil
		}
	}
	c.gaps, c.clock = w.gaps.values(), encodeClock(w.opt.Clock.Timeline())
	if w.opened.owner != "" {
		c.owner = encodeOwner(w.opened.owner)
	}
	w.mu.Unlock()
	return w.opened.file.shrink(c)
}

// commit writes the items that are due, and the cursors of what is acknowledged, in one
// transaction. With all it writes every item.
func (w writer) commit(all bool) error {
	return w.commitChange(func(b *backlog) change { return planLocked(b, all) })
}

// commitChange writes a change that is planned with the lock held.
func (w writer) commitChange(planLocked func(*backlog) change) error {
	w.mu.Lock()
	timeline := w.opt.Clock.Version() // read before the plan, so a change in between is written with the next commit
	c := planLocked(&w.backlog)
	w.storage.writing = !c.empty()
	w.mu.Unlock()
	if c.empty() {
		return nil
	}
	out, err := w.opened.file.write(c)

	w.mu.Lock()
	defer w.mu.Unlock()
	c.doneLocked(&w.backlog, out, timeline, err)
	return err
}
