package queue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Rejected is why a reading is missing that the broker refuses: it is kept, and
// may come yet.
const Rejected = "aside"

const rejectEvent = "aside" // the event that says so

// Bounds of what was rejected. It may not push out what can be delivered.
const (
	rejectsShare       = 8    // one part of max_size may be rejected
	rejectsEarly       = 1024 // items rejected that wait for a commit no longer
	maxRejectsInMemory = 4096 // what a failing disk may cost
)

var (
	errRejectsFull = fmt.Errorf("%d items that were set aside wait for the disk", maxRejectsInMemory)
	errNewFile     = errors.New("the queue has opened another file: it comes again")
)

// rejects are the items that the broker refuses, as in a dead-letter queue,
// numbered in the order in which they came. What is in memory is newer than what
// is in the file. The file learns what was acknowledged with the next commit. All
// under Queue.mu.
//
//	droppedThrough < numbers known to be on disk < numbers in pending < next
type rejects struct {
	next           uint64          // number of the next one, from 1 on
	pending        []rejectedItem  // not known to be on disk, oldest first; numbers may be missing
	attempted      uint64          // number of the newest that was in a commit, failed or not; below next
	due            time.Time       // when pending must be on its way to disk; means nothing while it is empty
	acked          map[uint64]bool // acknowledged, and perhaps on disk: the next commit removes them there
	droppedThrough uint64          // everything up to it was dropped
	commits        int             // commits that were applied; only grows
	onDisk         int             // items on disk, as of the last commit that succeeded, with those in acked
}

// A rejectedItem is one that no commit is known to have written.
type rejectedItem struct {
	Item
	onlyInMemory bool   // its lane on disk does not have it either
	data         []byte // as encodeRejected makes it; never changes
}

// IsRejected says that the item was rejected, and comes from there.
func (it Item) IsRejected() bool { return it.rejected }

// Declared says that the item was rejected and declared as missing.
func (it Item) Declared() bool { return it.declared }

// Reject takes an item that the broker refuses out of the way: it waits no
// longer, and is kept until Ack or Purge, or until an eighth of MaxSize is full
// of newer ones. All older items of its lane were acknowledged or rejected. An
// item that is there already stays there.
//
// With declare a [Gap] and an event "aside" say so. Of an event there is no gap,
// and of an event "aside" nothing is said: it would be refused like this one.
//
// It does not wait for the disk, but for the Put of an alarm that does. The commit
// that takes the item out of its lane has it here. With an error it stays where it
// is, and comes again.
func (q *Queue) Reject(it Item, declare bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it.Priority == sensors.Alarm && it.generation == q.opened.generation && !it.rejected && it.Event != gapEvent {
		q.waitAttemptedLocked(&q.lanes[sensors.Alarm], it.number)
	}
	waits, err := q.waitsLocked(it)
	if err == nil && waits && len(q.rejects.pending) >= maxRejectsInMemory {
		err = errRejectsFull
	}
	if err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	if !waits {
		return nil
	}
	by, alone := q.rejectDueLocked(it)
	it.declared = declare
	q.rejects.push(rejectedItem{Item: it, onlyInMemory: alone}, by)
	q.ackLocked(&it)
	if declare {
		q.declareRejectLocked(it)
	}
	q.storage.wakeWaiting()
	signal(q.work)
	return nil
}

// waitsLocked says that an item waits and is the oldest of its lane.
func (b *backlog) waitsLocked(it Item) (bool, error) {
	if it.rejected || it.Event == gapEvent {
		return !it.rejected && b.gaps.holds(it.Seq), nil
	}
	if it.generation != b.opened.generation {
		return false, errNewFile
	}
	l := &b.lanes[it.Priority]
	oldest := l.first
	if len(l.cache.head) > 0 {
		oldest = max(oldest, l.cache.head[0].number)
	}
	if it.number > oldest {
		return false, errors.New("older items of its lane are not acknowledged")
	}
	return it.number >= l.first, nil
}

// rejectDueLocked says how long an item that is rejected may wait for its commit:
// until by. alone reports that nothing of it is on disk yet, so that a power cut
// would take it.
func (b *backlog) rejectDueLocked(it Item) (by time.Time, alone bool) {
	now := time.Now()
	switch {
	case it.Event == gapEvent || it.number <= b.lanes[it.Priority].onDisk():
		return now.Add(b.opt.SyncEvery), false // the cursor stays before it until then
	case it.Priority == sensors.Alarm:
		return now, true
	}
	return b.spillAt(it), true
}

// push adds an item at the new end, with the next number. It has to be on its way to
// the disk by a time.
func (r *rejects) push(it rejectedItem, by time.Time) {
	if len(r.pending) == 0 || by.Before(r.due) {
		r.due = by
	}
	it.number = r.next
	it.data = encodeRejected(it.Item)
	r.pending, r.next = append(r.pending, it), r.next+1
}

// declareRejectLocked says with a gap and an event that an item was rejected. Of an
// event "aside" it says nothing: the broker that refuses it would refuse the next
// one, too, without end.
func (b *backlog) declareRejectLocked(it Item) {
	of := map[string]any{"boot": it.Boot, "seq": it.Seq}
	details := jsonObject("stream", it.Stream, "of", of)
	switch it.Event {
	case rejectEvent:
		return
	case "":
		b.gaps.add(Gap{Stream: it.Stream, Boot: it.Boot, From: it.Seq, To: it.Seq, Count: 1, Why: Rejected})
		signal(b.arrived)
	default:
		of["event"] = it.Event
		details = jsonObject("of", of)
	}
	b.reportLocked(rejectEvent, b.opt.Clock.Now(), details)
}

// Rejected returns the oldest items that were rejected and that the cursor has
// not passed, at most max; none if there are none. It does not wait. What it
// has returned may be dropped all the same, when newer ones take its place. It
// is called by the goroutine that calls Peek.
func (q *Queue) Rejected(c *Cursor, max int) ([]Item, error) {
	items, err := q.rejected(c, max)
	for i := range items {
		items[i].rejected, items[i].generation = true, c.generation
		items[i].At = q.opt.Clock.Resolve(items[i].At)
	}
	return items, err
}

// rejected is one critical section, but for the time in which the disk is read.
func (q *Queue) rejected(c *Cursor, max int) (items []Item, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.sync(q.opened.generation)
	file, from, before := q.opened.file, c.rejected+1, q.rejects.firstInMemory()
	inMemory := q.rejects.after(c.rejected, max)
	for file != nil && from < before && len(items) < max {
		read := rejectsRead{file, from, before, max - len(items), q.rejects.commits}
		q.mu.Unlock()
		found, err := q.reader.readRejects(read)
		q.mu.Lock()
		if err != nil && !errors.Is(err, errSlow) {
			q.noteUnreadableLocked(file)
		}
		if err != nil {
			return nil, err
		}
		if read.commits != q.rejects.commits {
			continue // it may hold what a commit took out, and what was acknowledged is forgotten by then
		}
		if found.last == 0 {
			break
		}
		items = append(items, q.stillRejectedLocked(found)...)
		from = found.last + 1
	}
	return append(items, inMemory[:min(len(inMemory), max-len(items))]...), nil
}

// stillRejectedLocked leaves out what is acknowledged, and what is damaged for
// good.
func (b *backlog) stillRejectedLocked(found rejectsRun) []Item {
	bad := 0
	for n, err := range found.bad {
		if !b.rejects.acked[n] {
			b.log.Error("item that was set aside is damaged and skipped", "number", n, "err", err)
			b.rejects.markAcked(n)
			bad++
		}
	}
	if bad > 0 {
		b.reportLocked("storage", b.opt.Clock.Now(), jsonObject("state", "damaged", "blocks", bad))
	}
	return slices.DeleteFunc(found.items, func(it Item) bool {
		return b.rejects.acked[it.number] || it.number <= b.rejects.droppedThrough
	})
}

// firstInMemory is the number of the oldest in memory.
func (r *rejects) firstInMemory() uint64 {
	if len(r.pending) > 0 {
		return r.pending[0].number
	}
	return r.next
}

// after returns what is in memory beyond a number, at most max.
func (r *rejects) after(number uint64, max int) (items []Item) {
	for i := r.index(number + 1); i < len(r.pending) && len(items) < max; i++ {
		if !r.acked[r.pending[i].number] {
			items = append(items, r.pending[i].Item)
		}
	}
	return items
}

// index is the place of the first in memory from a number on.
func (r *rejects) index(number uint64) int {
	return sort.Search(len(r.pending), func(i int) bool { return r.pending[i].number >= number })
}

// ack takes out an item. One that may be on disk stays there until a commit.
func (r *rejects) ack(number uint64) {
	if number <= r.droppedThrough || number >= r.next {
		return
	}
	if number <= r.attempted || number < r.firstInMemory() {
		r.markAcked(number)
		return
	}
	if i := r.index(number); i < len(r.pending) && r.pending[i].number == number {
		r.pending = slices.Delete(r.pending, i, i+1)
	}
}

// markAcked notes that an item is acknowledged: the next commit removes it on disk.
func (r *rejects) markAcked(number uint64) {
	if r.acked == nil {
		r.acked = map[uint64]bool{}
	}
	r.acked[number] = true
}

// count is how many items wait to be sent again or looked at. It is an estimate
// while a commit that failed may be on disk.
func (r *rejects) count() int { return max(0, r.onDisk+len(r.pending)-len(r.acked)) }

// onlyInMemory counts what is on disk nowhere.
func (r *rejects) onlyInMemory() (n int) {
	for i := range r.pending {
		if r.pending[i].onlyInMemory && !r.acked[r.pending[i].number] {
			n++
		}
	}
	return n
}

// change is what a commit should do: all there is, so that no cursor goes to
// disk before what it has passed.
func (r *rejects) change() rejectsChange {
	c := rejectsChange{last: r.next - 1, acked: slices.Sorted(maps.Keys(r.acked))}
	for i := range r.pending {
		if it := &r.pending[i]; !r.acked[it.number] {
			c.puts = append(c.puts, block{last: it.number, data: it.data})
		}
	}
	r.attempted = c.last
	return c
}

// applied takes over what a successful commit has done. One that failed is done
// again, number by number, whether it has landed or not.
func (r *rejects) applied(c rejectsChange, out rejectsOutcome) {
	r.commits++
	r.pending = slices.Delete(r.pending, 0, r.index(c.last+1))
	for _, n := range c.acked {
		delete(r.acked, n)
	}
	maps.DeleteFunc(r.acked, func(n uint64, _ bool) bool { return n <= out.droppedThrough })
	r.droppedThrough, r.onDisk = max(r.droppedThrough, out.droppedThrough), out.size.count
}

// rebase puts what another file has before what is in memory, which gets new
// numbers.
func (r *rejects) rebase(there rejectsSize) {
	pending := slices.DeleteFunc(r.pending, func(it rejectedItem) bool { return r.acked[it.number] })
	*r = rejects{next: max(r.next, there.last+1), onDisk: there.count, due: r.due, commits: r.commits}
	for _, it := range pending {
		r.push(it, r.due)
	}
}

const becauseRejects = "an eighth of max_size is set aside"

// purgeRejectsLocked gives up what is in memory alone.
func (b *backlog) purgeRejectsLocked() {
	for _, it := range b.rejects.pending {
		if !b.rejects.acked[it.number] {
			b.droppedLocked(1, lossOf(it.Item), purged)
		}
	}
	b.rejects.pending = nil
}

// lossOf declares that an item is gone, unless that was done when it was set
// aside.
func lossOf(it Item) []Gap {
	if it.declared {
		return nil
	}
	return gapsOf(run{items: []Item{it}})
}
