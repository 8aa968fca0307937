package queue

import (
	"context"
	"maps"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	idleCursor     = time.Minute     // that the file may lag behind acknowledged alarms
	retryStorage   = 5 * time.Second // between attempts while the disk fails
	checkFileEvery = time.Minute     // whether it is still in its place

	// A tail may take so many bytes: together with its key it must fit into a
	// quarter of a page, or bbolt gives it pages of its own.
	maxTail = 900

	// A block takes no more bytes, unless one reading does: package pages reads
	// no value of over a mebibyte, because a damaged file may claim anything.
	maxBlock = 64 << 10

	maxEncode = 8 * blockItems // readings of a lane in one commit: half a millisecond here
)

const purged = "purged" // why readings were dropped

// writer is the state of the goroutine of Run, under Queue.mu: Put, Purge and
// Stats read it.
type writer struct {
	commitEnded   chan struct{} // closed after each commit, whether it succeeded or not, and then replaced
	lastCommit    time.Time     // the end of the last one
	writing       bool          // one is under way
	failing       bool          // the last one failed
	hangs         bool          // one has outlived diskPatience
	purging       bool          // the next one drops all that it may
	readFailed    bool          // what is on disk could not be read: the file is opened again
	fileChecked   time.Time     // when the place of the file was looked at
	savedTimeline uint64        // version of the clock's timeline that the file has
}

// Run moves readings to disk when they have waited too long, until ctx is done.
func (q *Queue) Run(ctx context.Context) error {
	defer close(q.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.work:
		case <-timer.C:
		}
		if q.due() <= 0 {
			q.flush()
		}
		timer.Reset(max(q.due(), 0))
	}
}

// A deadline is the earliest of several times.
type deadline struct {
	at        time.Time
	notBefore time.Time // while the disk fails: what is due then is tried again at this time
}

func (d *deadline) by(t time.Time) {
	if t.Before(d.notBefore) {
		t = d.notBefore
	}
	if t.Before(d.at) {
		d.at = t
	}
}

// due says how long the writer may wait.
func (q *Queue) due() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := &q.writer
	if q.opened.file == nil {
		return time.Until(w.lastCommit.Add(retryStorage))
	}
	alarms := &q.lanes[sensors.Alarm]
	if len(alarms.unsynced()) > 0 && alarms.attempted < alarms.next {
		return 0 // even while the disk fails: Put waits for the answer
	}
	d := deadline{at: w.fileChecked.Add(checkFileEvery)}
	if w.failing {
		d.notBefore = w.lastCommit.Add(retryStorage)
	}
	q.fileDueLocked(&d)
	q.itemsDueLocked(&d)
	q.metaDueLocked(&d)
	return time.Until(d.at)
}

// fileDueLocked is for the file itself, also if there is nothing to write.
func (q *Queue) fileDueLocked(d *deadline) {
	w := &q.writer
	if w.readFailed {
		d.by(later(w.lastCommit, w.fileChecked.Add(retryStorage)))
	}
	if w.purging || w.failing { // after a commit that failed the file is closed, and what is in it waits
		d.by(w.lastCommit)
	}
}

// itemsDueLocked is for what is in memory and not on disk.
func (q *Queue) itemsDueLocked(d *deadline) {
	if len(q.lanes[sensors.Alarm].unsynced()) > 0 {
		d.by(q.writer.lastCommit)
	}
	if routine := &q.lanes[sensors.Routine]; len(routine.unsynced()) > 0 {
		d.by(q.routineDueLocked(routine))
	}
	if n := len(q.rejects.pending); n >= rejectsEarly {
		d.by(q.writer.lastCommit)
	} else if n > 0 {
		d.by(q.rejects.due)
	}
}

// metaDueLocked is for the gaps, the clock and the cursors. They do not matter
// while nothing waits on disk, but for the cursor of routine readings.
func (q *Queue) metaDueLocked(d *deadline) {
	alarms, routine := &q.lanes[sensors.Alarm], &q.lanes[sensors.Routine]
	timeline := q.clockChanged() && (routine.waitingOnDisk() || alarms.waitingOnDisk())
	if q.gaps.dirty || timeline || routine.dirty() || alarms.dirty() && alarms.waitingOnDisk() {
		d.by(q.writer.lastCommit.Add(q.opt.SyncEvery))
	}
	if alarms.dirty() || len(q.rejects.acked) > 0 {
		d.by(q.writer.lastCommit.Add(idleCursor))
	}
}

// noteUnreadable has the writer look at a file that could not be read: what is
// damaged is salvaged, and what is intact goes on. It reports false if another
// file is in its place by now.
func (q *Queue) noteUnreadable(f *file) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.opened.file != f {
		return false
	}
	q.writer.readFailed = true
	signal(q.work)
	return true
}

// routineDueLocked is when the oldest routine reading that is not on disk must
// be on its way there: a little early, so that it arrives in time.
func (q *Queue) routineDueLocked(l *lane) time.Time {
	unsafe := l.unsynced()
	if len(unsafe) >= spillEarly {
		return q.writer.lastCommit
	}
	return q.spillAt(unsafe[0])
}

func (q *Queue) spillAt(it Item) time.Time {
	early := min(q.opt.SyncEvery/20, 250*time.Millisecond)
	return q.start.Add(it.put + q.opt.SyncEvery - early)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flush commits. If the file could not be opened before, it opens it first; if the
// last commit failed, it opens it again.
func (q *Queue) flush() {
	var err error
	switch {
	case q.opened.file == nil:
		if err = q.openFile(); err == nil {
			err = q.opened.file.readOnly()
		}
	default:
		if wrong, blind := q.needsReopen(); wrong {
			err = q.reopen(blind)
		}
	}
	if err == nil {
		if err = q.commit(false); err != nil {
			return // the commit has said so
		}
		err = q.renew()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.storageLocked(nil) // also where there was nothing to write
		return
	}
	q.writer.lastCommit = time.Now()
	q.storageLocked(err)
	for p := range q.lanes {
		q.lanes[p].attempted = q.lanes[p].next
	}
	q.wakePutLocked()
}

// needsReopen says that the file has to be opened again, and whether it could not
// be read.
func (q *Queue) needsReopen() (wrong, blind bool) {
	wrong = q.opened.file.inPlace() != nil
	q.mu.Lock()
	defer q.mu.Unlock()
	blind = q.writer.readFailed
	q.writer.fileChecked, q.writer.readFailed = time.Now(), false
	return wrong || blind || q.writer.failing, blind
}

// reopen opens the file again and makes room in it. A file that can be neither
// written nor read is given up until it can be: what is in memory must not wait
// behind it.
func (q *Queue) reopen(blind bool) error {
	err := q.reconcile()
	if err != nil && blind {
		q.opened.file.unlockReader()
		if failed := q.openFile(); failed == nil {
			err = nil
		} else {
			q.mu.Lock()
			q.detachLocked()
			q.mu.Unlock()
		}
	}
	if err == nil {
		err = q.opened.file.readOnly()
	}
	if err == nil {
		err = q.commitChange(q.acksLocked)
	}
	return err
}

// renew makes a file anew that has grown and is empty.
func (q *Queue) renew() error {
	q.mu.Lock()
	var c change
	for p := range q.lanes {
		l := &q.lanes[p]
		c.lanes[p].cursor = l.cursor()
		if l.waiting() > 0 || len(q.rejects.pending)+len(q.rejects.acked) > 0 {
			q.mu.Unlock()
			return nil
		}
	}
	c.gaps, c.clock = q.gaps.values(), encodeClock(q.opt.Clock.Timeline())
	if q.opened.owner != "" {
		c.owner = encodeOwner(q.opened.owner)
	}
	q.mu.Unlock()
	return q.opened.file.renew(c)
}

// commit writes what is due, and how far the broker has acknowledged, in one
// transaction. With all it writes everything.
func (q *Queue) commit(all bool) error {
	return q.commitChange(func() change { return q.changeLocked(all) })
}

// commitChange writes a change that is made with the lock held.
func (q *Queue) commitChange(makeLocked func() change) error {
	q.mu.Lock()
	told := q.opt.Clock.Version()
	c := makeLocked()
	q.writer.writing = !c.empty()
	q.mu.Unlock()
	if c.empty() {
		return nil
	}
	out, err := q.opened.file.write(c)

	q.mu.Lock()
	defer q.mu.Unlock()
	q.writer.lastCommit, q.writer.writing = time.Now(), false
	if err != nil || !c.acksOnly {
		q.storageLocked(err)
	}
	for p := range q.lanes {
		l := &q.lanes[p]
		l.disk.evicting, l.committing = false, 0
		l.attempted = max(l.attempted, c.lanes[p].attempted)
		if err != nil { // also what did not fit into this commit: else the next one is due at once, again and again
			l.attempted = max(l.attempted, c.lanes[p].next)
		}
		if err == nil {
			q.appliedLocked(l, c.lanes[p], out.lanes[p], c.reason)
		}
	}
	if err == nil {
		q.appliedRejectsLocked(c, out.rejects)
	}
	if err == nil {
		q.newDayLocked()
		q.counts.commits++
		q.counts.written += out.written
		if c.clock != nil {
			q.writer.savedTimeline = told
		}
		if c.owner != nil {
			q.opened.owner = q.opt.ClientID
		}
	}
	if err == nil && c.purge {
		q.writer.purging = false
	}
	if err != nil {
		q.gaps.dirty = q.gaps.dirty || c.gaps != nil
	}
	signal(q.arrived) // what an eviction held back
	q.wakePutLocked()
	return err
}

// newDayLocked begins to count anew after midnight.
func (q *Queue) newDayLocked() {
	if today := time.Now().Unix() / (24 * 60 * 60); today != q.counts.day.number {
		q.counts.day.number, q.counts.day.commits, q.counts.day.written = today, q.counts.commits, q.counts.written
	}
}

// wakePutLocked lets every waiting Put look again.
func (q *Queue) wakePutLocked() {
	close(q.writer.commitEnded)
	q.writer.commitEnded = make(chan struct{})
}

// changeLocked is what a commit should do.
func (q *Queue) changeLocked(all bool) (c change) {
	grown := 0
	for p := range q.lanes {
		c.lanes[p] = q.laneChangeLocked(sensors.Priority(p), all)
		for _, b := range c.lanes[p].blocks {
			grown += len(b.data)
		}
	}
	q.rejectsChangeLocked(&c)
	grown += int(c.rejects.grown())
	if q.gaps.dirty || c.rejects.full {
		c.gaps, q.gaps.dirty = q.gaps.values(), false
	}
	if q.clockChanged() && (!c.empty() || q.lanes[0].waitingOnDisk() || q.lanes[1].waitingOnDisk()) {
		c.clock = encodeClock(q.opt.Clock.Timeline())
	}
	if !c.empty() {
		c.owner = q.newOwner()
	}
	if q.opt.MaxAge > 0 && q.opt.Clock.Steady() >= minTrusted {
		c.dropBefore = q.opt.Clock.Now().Unix - q.opt.MaxAge.Milliseconds()
	}
	q.evictionLocked(&c, int64(grown))
	return c
}

// evictionLocked lets a change that adds grown bytes remove what is too much or
// too old; or everything that it may, for Purge.
func (q *Queue) evictionLocked(c *change, grown int64) {
	full := q.opened.file.size+q.opened.file.rejects.size+grown > q.opt.MaxSize
	switch {
	case q.writer.purging:
		c.purge, c.reason = true, purged
	case grown > 0 && full:
		c.max, c.reason = q.opt.MaxSize, "max_size is reached"
	case grown > 0 && c.dropBefore > 0:
		c.max, c.reason = q.opt.MaxSize, "max_age is reached"
	default:
		return
	}
	c.evict, c.gaps = true, q.gaps.values()
	for p := range q.lanes {
		l, lc := &q.lanes[p], &c.lanes[p]
		l.disk.evicting = true
		lc.issued, lc.suspect, lc.seqs = l.issued, l.disk.suspect, maps.Clone(l.cache.seqs)
		if c.purge && l.mem.len() == 0 {
			lc.tail = []byte{}
		}
	}
}

// acksLocked is the part of a change that makes room: in a file that cannot grow,
// what is acknowledged has to go before something else can come. What was set
// aside goes with it, so that no cursor is on disk before what it has passed.
func (q *Queue) acksLocked() (c change) {
	c.acksOnly = true
	for p := range q.lanes {
		l := &q.lanes[p]
		if l.dirty() {
			c.lanes[p].cursor = l.cursor()
		}
		if c.lanes[p].cursor > l.disk.lastTail && l.disk.lastTail > l.disk.lastBlock {
			c.lanes[p].tail = []byte{} // acknowledged
		}
	}
	q.rejectsChangeLocked(&c)
	return c
}

// laneChangeLocked is what a commit should do to a lane. The items are encoded
// here, under the lock, so that they may leave memory while the disk works.
func (q *Queue) laneChangeLocked(p sensors.Priority, all bool) laneChange {
	l := &q.lanes[p]
	c := laneChange{lastBlock: l.disk.lastBlock, next: l.next}
	if l.dirty() {
		c.cursor = l.cursor()
	}
	if p == sensors.Alarm {
		c.attempted = min(l.next, l.firstInMemory()+maxEncode) // they are in this commit, or on disk, or acknowledged
	}
	unsafe := l.unsynced()
	if len(unsafe) == 0 || p == sensors.Routine && !all && time.Until(q.routineDueLocked(l)) > 0 {
		if c.cursor > l.disk.lastTail && l.disk.lastTail > l.disk.lastBlock {
			c.tail = []byte{} // acknowledged
		}
		return c
	}
	q.encodeMemory(l, &c)
	l.committing = c.tailLast
	if n := len(c.blocks); n > 0 {
		l.committing = max(l.committing, c.blocks[n-1].last)
	}
	return c
}

// encodeMemory makes blocks of what is in memory, the last of them the tail if
// it is small. It has a bound, because it runs under the lock; what is left is
// due at once.
func (q *Queue) encodeMemory(l *lane, c *laneChange) {
	items := l.mem.items()
	items = items[:min(len(items), maxEncode)]
	for len(items) > 0 {
		n := min(len(items), blockItems)
		data := encode(run{items: items[:n]})
		for len(data) > maxBlock && n > 1 {
			n = max(1, n/2)
			data = encode(run{items: items[:n]})
		}
		b := block{last: items[n-1].number, data: data}
		if items = items[n:]; len(items) == 0 && len(b.data) <= maxTail {
			c.tail, c.tailLast = b.data, b.last
			return
		}
		c.blocks = append(c.blocks, b)
	}
	c.tail = []byte{}
}

// appliedLocked moves a lane to where a successful commit has put it.
func (q *Queue) appliedLocked(l *lane, c laneChange, out laneOutcome, why string) {
	l.disk.savedFirst = max(l.disk.savedFirst, c.cursor)
	if n := len(c.blocks); n > 0 {
		l.movedToBlocks(c.blocks[n-1].last)
	}
	if c.tail != nil {
		l.disk.lastTail = c.tailLast
	}
	if out.damaged > 0 {
		l.disk.suspect = true
		q.reportLocked("storage", q.opt.Clock.Now(), jsonObject("state", "damaged", "blocks", out.damaged))
	}
	if l.cache.seqs == nil && len(out.seqs) > 0 {
		l.cache.seqs = seqs{}
	}
	for k, seq := range out.seqs {
		l.cache.seqs[k] = max(l.cache.seqs[k], seq)
	}
	if out.removed > 0 || why == purged {
		l.evicted(out.removed, out.last)
		q.droppedLocked(out.removed, out.gaps, why)
	}
}

// storageLocked says when the disk starts and stops failing.
func (q *Queue) storageLocked(err error) {
	hung := q.writer.hangs
	q.writer.hangs = false
	switch failing := err != nil; {
	case failing && !q.writer.failing:
		q.log.Error("storage fails: readings are kept in memory", "err", err)
		q.reportLocked("storage", q.opt.Clock.Now(), jsonObject("state", "fails", "error", err.Error()))
	case !failing && (q.writer.failing || hung):
		q.log.Info("storage works again")
		q.reportLocked("storage", q.opt.Clock.Now(), `{"state":"works"}`)
	}
	q.writer.failing = err != nil
}
