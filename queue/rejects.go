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

// Rejected is the Why of the gap of a reading that the broker rejected: it is kept, and
// may be delivered later.
const Rejected = "aside"

const rejectEvent = "aside" // the name of the event about a rejected item

// Limits of rejected items, so that they do not displace items that can be delivered.
const (
	rejectsShare       = 8    // rejected items may use MaxSize / rejectsShare
	rejectsEarly       = 1024 // with so many pending items a commit is due at once
	maxRejectsInMemory = 4096 // limits the memory that they use while the disk fails
)

var (
	errRejectsFull = fmt.Errorf("%d items that were set aside wait for the disk", maxRejectsInMemory)
	errNewFile     = errors.New("the queue has opened another file: it comes again")
)

// rejects are the items that the broker has rejected: a dead-letter queue. They are
// numbered in the order in which they were rejected. The items in memory are newer than
// those in the file. An acknowledged item is deleted from the file with the next commit.
// Queue.mu guards all fields.
//
//	droppedThrough < numbers known to be on disk < numbers in pending < next
type rejects struct {
	next           uint64          // number of the next rejected item, from 1 on
	pending        []rejectedItem  // not known to be on disk, oldest first; numbers may be missing
	attempted      uint64          // highest number in any commit, failed or not; below next
	due            time.Time       // when the next commit with pending must begin; not valid while pending is empty
	acked          map[uint64]bool // acknowledged, and perhaps on disk: the next commit deletes them there
	droppedThrough uint64          // everything up to this number was dropped
	commits        int             // successful commits; only grows
	onDisk         int             // items on disk after the last successful commit, with those in acked
}

// A rejectedItem is a rejected item that is not known to be on disk.
type rejectedItem struct {
	Item
	onlyInMemory bool   // it is not on disk in its lane either
	data         []byte // made by encodeRejected; never changes
}

// IsRejected reports whether [Queue.Rejected] returned the item.
func (it Item) IsRejected() bool { return it.rejected }

// Declared reports whether the item was rejected and declared as a gap.
func (it Item) Declared() bool { return it.declared }

// Reject moves an item that the broker has rejected from its lane to the rejected items.
// There it is kept until Ack or Purge, or until newer ones need its share, an eighth of
// MaxSize. All older items of its lane must be acknowledged or rejected. An item that was
// rejected before is not changed.
//
// With declare a [Gap] and an event "aside" report it. For a rejected event there is no
// gap, and for a rejected event "aside" there is no report, because the broker would
// reject that one as well.
//
// Reject does not wait for the disk, except for an alarm that is being written by Put. One
// commit moves the item on disk. After an error the item stays in its lane, and Peek
// returns it again.
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
	due, onlyInMemory := q.rejectDueLocked(it)
	it.declared = declare
	q.rejects.push(rejectedItem{Item: it, onlyInMemory: onlyInMemory}, due)
	q.ackLocked(&it)
	if declare {
		q.declareRejectLocked(it)
	}
	q.storage.wakeWaiting()
	signal(q.work)
	return nil
}

// waitsLocked reports whether an item waits in its lane. It fails if older items of the
// lane wait, too.
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

// rejectDueLocked returns when the commit of a rejected item is due. onlyInMemory reports
// that the item is not on disk yet, so that a power cut would lose it.
func (b *backlog) rejectDueLocked(it Item) (due time.Time, onlyInMemory bool) {
	now := time.Now()
	switch {
	case it.Event == gapEvent || it.number <= b.lanes[it.Priority].onDisk():
		return now.Add(b.opt.SyncEvery), false // until then the item is on disk in its lane
	case it.Priority == sensors.Alarm:
		return now, true
	}
	return b.spillAt(it), true
}

// push appends an item with the next number. Its commit must begin at due or earlier.
func (r *rejects) push(it rejectedItem, due time.Time) {
	if len(r.pending) == 0 || due.Before(r.due) {
		r.due = due
	}
	it.number = r.next
	it.data = encodeRejected(it.Item)
	r.pending, r.next = append(r.pending, it), r.next+1
}

// declareRejectLocked reports with a gap and an event that an item was rejected. It does
// not report a rejected event "aside": the broker would reject the next one, too, and so
// on without end.
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

// Rejected returns the oldest rejected items that the cursor has not passed, at most max.
// It does not wait if there are none. Items that it has returned can still be dropped to
// make room for newer ones. Only the goroutine that calls Peek may call it.
func (q *Queue) Rejected(c *Cursor, max int) ([]Item, error) {
	items, err := q.rejected(c, max)
	for i := range items {
		items[i].rejected, items[i].generation = true, c.generation
		items[i].At = q.opt.Clock.Resolve(items[i].At)
	}
	return items, err
}

// rejected does the work of Rejected. It holds mu, except while it reads the disk.
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
			continue // a commit came between: the items may have been acknowledged and deleted
		}
		if found.last == 0 {
			break
		}
		items = append(items, q.stillRejectedLocked(found)...)
		from = found.last + 1
	}
	return append(items, inMemory[:min(len(inMemory), max-len(items))]...), nil
}

// stillRejectedLocked removes the items that are acknowledged or dropped by now from what
// was read. It logs damaged items and marks them as acknowledged, so that they are deleted.
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

// firstInMemory returns the number of the oldest item in memory, or next if there is none.
func (r *rejects) firstInMemory() uint64 {
	if len(r.pending) > 0 {
		return r.pending[0].number
	}
	return r.next
}

// after returns the items in memory with higher numbers that are not acknowledged, at
// most max.
func (r *rejects) after(number uint64, max int) (items []Item) {
	for i := r.index(number + 1); i < len(r.pending) && len(items) < max; i++ {
		if !r.acked[r.pending[i].number] {
			items = append(items, r.pending[i].Item)
		}
	}
	return items
}

// index returns the index in pending of the first item from a number on.
func (r *rejects) index(number uint64) int {
	return sort.Search(len(r.pending), func(i int) bool { return r.pending[i].number >= number })
}

// ack removes an item from memory. If it may be on disk, the next commit deletes it there.
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

// markAcked records that an item is acknowledged: the next commit deletes it on disk.
func (r *rejects) markAcked(number uint64) {
	if r.acked == nil {
		r.acked = map[uint64]bool{}
	}
	r.acked[number] = true
}

// count is the number of rejected items. It is an estimate after a failed commit, which
// may be on disk nevertheless.
func (r *rejects) count() int { return max(0, r.onDisk+len(r.pending)-len(r.acked)) }

// onlyInMemory is the number of items that are neither here nor in their lanes on disk.
func (r *rejects) onlyInMemory() (n int) {
	for i := range r.pending {
		if r.pending[i].onlyInMemory && !r.acked[r.pending[i].number] {
			n++
		}
	}
	return n
}

// change returns the part of the next commit about rejected items. It always has all of
// them: a lane's cursor on disk must not pass an item that is not on disk here.
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

// applied updates the state after a successful commit. After a failed one nothing changes:
// the next commit writes the same numbers again, whether they are on disk or not.
func (r *rejects) applied(c rejectsChange, out rejectsOutcome) {
	r.commits++
	r.pending = slices.Delete(r.pending, 0, r.index(c.last+1))
	for _, n := range c.acked {
		delete(r.acked, n)
	}
	maps.DeleteFunc(r.acked, func(n uint64, _ bool) bool { return n <= out.droppedThrough })
	r.droppedThrough, r.onDisk = max(r.droppedThrough, out.droppedThrough), out.size.count
}

// rebase continues with the rejected items of another file. Those in memory get new
// numbers after them.
func (r *rejects) rebase(stored rejectsSize) {
	pending := slices.DeleteFunc(r.pending, func(it rejectedItem) bool { return r.acked[it.number] })
	*r = rejects{next: max(r.next, stored.last+1), onDisk: stored.count, due: r.due, commits: r.commits}
	for _, it := range pending {
		r.push(it, r.due)
	}
}

const reasonRejectsFull = "an eighth of max_size is set aside" // is logged

// purgeRejectsLocked drops the items in memory; the commit of the purge drops those on disk.
func (b *backlog) purgeRejectsLocked() {
	for _, it := range b.rejects.pending {
		if !b.rejects.acked[it.number] {
			b.droppedLocked(1, lossOf(it.Item), purged)
		}
	}
	b.rejects.pending = nil
}

// lossOf returns the gap for an item that is dropped, unless Reject has declared it.
func lossOf(it Item) []Gap {
	if it.declared {
		return nil
	}
	return gapsOf(run{items: []Item{it}})
}
