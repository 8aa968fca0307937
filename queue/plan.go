package queue

import (
	"maps"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A commit has three steps. planLocked makes a change, with Queue.mu held; the change
// shares no memory with the backlog. file.write writes it without the lock. doneLocked
// updates the backlog. Whatever is added between the first and the last step waits for
// the next commit.

const purged = "purged" // the logged reason for dropping readings

// planLocked makes the next change: what is due or, with all, as much as one commit may
// contain.
func planLocked(b *backlog, all bool) (c change) {
	grown := 0
	for p := range b.lanes {
		c.lanes[p] = planLaneLocked(b, sensors.Priority(p), all)
		for _, bl := range c.lanes[p].blocks {
			grown += len(bl.data)
		}
	}
	c.addRejectsLocked(b)
	grown += int(c.rejects.grown())
	if b.gaps.dirty || c.rejects.full {
		c.gaps, b.gaps.dirty = b.gaps.values(), false
	}
	onDisk := b.lanes[0].waitingOnDisk() || b.lanes[1].waitingOnDisk()
	if b.storage.timelineChanged(b.opt.Clock) && (onDisk || !c.empty()) {
		c.clock = encodeClock(b.opt.Clock.Timeline())
	}
	if !c.empty() {
		c.addOwnerLocked(b)
	}
	if b.opt.MaxAge > 0 && b.opt.Clock.Steady() >= minTrusted {
		c.dropBefore = b.opt.Clock.Now().Unix - b.opt.MaxAge.Milliseconds()
	}
	c.addEvictionLocked(b, int64(grown))
	return c
}

// planAcksLocked makes a change that only frees space: in a file that cannot grow,
// acknowledged items have to be deleted before anything can be added. It also has the
// rejected items, because a cursor on disk must not pass an item that is not on disk.
func planAcksLocked(b *backlog) (c change) {
	c.acksOnly = true
	for p := range b.lanes {
		l := &b.lanes[p]
		if l.dirty() {
			c.lanes[p].cursor = l.cursor()
		}
		if c.lanes[p].cursor > l.disk.lastTail && l.disk.lastTail > l.disk.lastBlock {
			c.lanes[p].tail = []byte{} // acknowledged
		}
	}
	c.addRejectsLocked(b)
	return c
}

// planLaneLocked makes the change of a lane. It encodes the items under the lock, so that
// they may be acknowledged and removed from memory during the commit.
func planLaneLocked(b *backlog, p sensors.Priority, all bool) laneChange {
	l := &b.lanes[p]
	c := laneChange{lastBlock: l.disk.lastBlock, next: l.next}
	if l.dirty() {
		c.cursor = l.cursor()
	}
	if p == sensors.Alarm {
		c.attempted = min(l.next, l.firstInMemory()+maxEncode) // lower ones are in this commit, on disk or acknowledged
	}
	unsynced := l.unsynced()
	if len(unsynced) == 0 || p == sensors.Routine && !all && time.Until(b.routineDueLocked()) > 0 {
		if c.cursor > l.disk.lastTail && l.disk.lastTail > l.disk.lastBlock {
			c.tail = []byte{} // acknowledged
		}
		return c
	}
	c.addMemory(l.mem.items())
	l.committing = c.tailLast
	if n := len(c.blocks); n > 0 {
		l.committing = max(l.committing, c.blocks[n-1].last)
	}
	return c
}

// addMemory makes blocks of items in memory; if the last block is small, it becomes the
// tail. It encodes at most maxEncode items, because it runs under the lock. The rest is
// due at once.
func (c *laneChange) addMemory(items []Item) {
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

// addRejectsLocked adds all changes of rejected items that are not in the file yet.
func (c *change) addRejectsLocked(b *backlog) {
	c.rejects = b.rejects.change()
	c.rejects.limit = b.opt.MaxSize / rejectsShare
	c.rejects.full = b.opened.file.rejects.size+c.rejects.grown() > c.rejects.limit
	if b.storage.purging {
		c.rejects.limit, c.rejects.full = 0, true
	}
}

// addOwnerLocked adds our client ID, unless the file has it or it is unknown.
func (c *change) addOwnerLocked(b *backlog) {
	if b.opt.ClientID != "" && b.opened.owner != b.opt.ClientID {
		c.owner = encodeOwner(b.opt.ClientID)
	}
}

// addEvictionLocked lets a change that adds grown bytes evict what exceeds MaxSize or
// MaxAge, or for Purge everything that was not issued. Until the commit has ended, Peek
// issues no further items, because the commit may evict them.
func (c *change) addEvictionLocked(b *backlog, grown int64) {
	full := b.opened.file.size+b.opened.file.rejects.size+grown > b.opt.MaxSize
	switch {
	case b.storage.purging:
		c.purge, c.reason = true, purged
	case grown > 0 && full:
		c.max, c.reason = b.opt.MaxSize, "max_size is reached"
	case grown > 0 && c.dropBefore > 0:
		c.max, c.reason = b.opt.MaxSize, "max_age is reached"
	default:
		return
	}
	c.evict, c.gaps = true, b.gaps.values()
	for p := range b.lanes {
		l, lc := &b.lanes[p], &c.lanes[p]
		l.disk.evicting = true
		lc.issued, lc.suspect, lc.seqs = l.issued, l.disk.suspect, maps.Clone(l.cache.seqs)
		if c.purge && l.mem.len() == 0 {
			lc.tail = []byte{}
		}
	}
}

// doneLocked updates the backlog after a commit that succeeded or failed with err.
// timeline is the version of the clock's timeline when the change was planned.
func (c *change) doneLocked(b *backlog, out outcome, timeline uint64, err error) {
	b.storage.lastCommit, b.storage.writing = time.Now(), false
	if err != nil || !c.acksOnly {
		b.storageLocked(err)
	}
	for p := range b.lanes {
		l := &b.lanes[p]
		l.disk.evicting, l.committing = false, 0
		l.attempted = max(l.attempted, c.lanes[p].attempted)
		if err != nil { // also items that did not fit into it: otherwise commits would be due without a pause
			l.attempted = max(l.attempted, c.lanes[p].next)
		}
	}
	if err != nil {
		b.gaps.dirty = b.gaps.dirty || c.gaps != nil
	} else {
		c.appliedLocked(b, out, timeline)
	}
	signal(b.arrived) // Peek may issue further items again
	b.storage.wakeWaiting()
}

// appliedLocked updates the backlog after a successful commit.
func (c *change) appliedLocked(b *backlog, out outcome, timeline uint64) {
	for p := range b.lanes {
		c.lanes[p].appliedLocked(b, &b.lanes[p], out.lanes[p], c.reason)
	}
	b.rejects.applied(c.rejects, out.rejects)
	why := reasonRejectsFull
	if c.purge {
		why = purged
	}
	b.droppedLocked(out.rejects.dropped, out.rejects.gaps.values(), why)
	b.counts.newDay()
	b.counts.commits++
	b.counts.written += out.written
	if c.clock != nil {
		b.storage.savedTimeline = timeline
	}
	if c.owner != nil {
		b.opened.owner = b.opt.ClientID
	}
	if c.purge {
		b.storage.purging = false
	}
}

// appliedLocked updates a lane after a successful commit.
func (c *laneChange) appliedLocked(b *backlog, l *lane, out laneOutcome, why string) {
	l.disk.savedFirst = max(l.disk.savedFirst, c.cursor)
	if n := len(c.blocks); n > 0 {
		l.movedToBlocks(c.blocks[n-1].last)
	}
	if c.tail != nil {
		l.disk.lastTail = c.tailLast
	}
	if out.damaged > 0 {
		l.disk.suspect = true
		b.reportLocked("storage", b.opt.Clock.Now(), jsonObject("state", "damaged", "blocks", out.damaged))
	}
	if l.cache.seqs == nil && len(out.seqs) > 0 {
		l.cache.seqs = seqs{}
	}
	for k, seq := range out.seqs {
		l.cache.seqs[k] = max(l.cache.seqs[k], seq)
	}
	if out.removed > 0 || why == purged {
		l.evicted(out.removed, out.last)
		b.droppedLocked(out.removed, out.gaps, why)
	}
}
