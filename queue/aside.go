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

const asideEvent = "aside"

const (
	asideShare        = 8    // one part of max_size may be set aside
	asideEarly        = 1024 // items set aside that wait for a commit no longer
	mostAsideInMemory = 4096 // what a failing disk may cost
)

var (
	errAsideFull = fmt.Errorf("%d items that were set aside wait for the disk", mostAsideInMemory)
	errNewFile   = errors.New("the queue has opened another file: it comes again")
)

// refused are the items that were set aside, numbered in that order. What is in
// memory is newer than what is in the file, which need not know yet what was
// acknowledged.
type refused struct {
	next  uint64          // number of the next one
	young []refusedItem   // not known to be on disk, oldest first
	tried uint64          // number of the newest that was in a commit, failed or not
	due   time.Time       // when the young must be on their way to disk
	gone  map[uint64]bool // acknowledged, and perhaps on disk
	left  uint64          // everything up to it was dropped
	disk  int             // items on disk
}

type refusedItem struct {
	Item
	alone bool // it is on disk nowhere else
	data  []byte
}

// IsRejected says that the item was set aside, and comes from there.
func (it Item) IsRejected() bool { return it.aside }

// Declared says that the item was set aside and declared as missing.
func (it Item) Declared() bool { return it.declared }

// Reject takes an item that the broker refuses out of the way: it waits no
// longer, and is kept until Ack or Purge, or until an eighth of MaxSize is full
// of newer ones. All older items of its lane were acknowledged or set aside. An
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
	if it.Priority == sensors.Alarm && it.turn == q.turn && !it.aside && it.Event != gapEvent {
		q.waitTriedLocked(&q.lanes[sensors.Alarm], it.number)
	}
	waits, err := q.waitsLocked(it)
	if err == nil && waits && len(q.refused.young) >= mostAsideInMemory {
		err = errAsideFull
	}
	if err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	if !waits {
		return nil
	}
	by, alone := q.asideDueLocked(it)
	it.declared = declare
	q.refused.push(refusedItem{Item: it, alone: alone}, by)
	q.ackLocked(it)
	if declare {
		q.declareAsideLocked(it)
	}
	q.wakePutLocked()
	signal(q.work)
	return nil
}

// waitsLocked says that an item waits and is the oldest of its lane.
func (q *Queue) waitsLocked(it Item) (bool, error) {
	if it.aside || it.Event == gapEvent {
		return !it.aside && q.gaps.holds(it.Seq), nil
	}
	if it.turn != q.turn {
		return false, errNewFile
	}
	l := &q.lanes[it.Priority]
	oldest := l.first
	if len(l.head) > 0 {
		oldest = max(oldest, l.head[0].number)
	}
	if it.number > oldest {
		return false, errors.New("older items of its lane are not acknowledged")
	}
	return it.number >= l.first, nil
}

// holds says that a gap that was handed out under a number is not acknowledged.
func (g *gaps) holds(seq uint64) bool {
	return slices.ContainsFunc(g.list, func(e *gap) bool { return e.given != nil && e.given.Seq == seq })
}

// asideDueLocked is when an item must be on its way to the disk at the latest,
// and whether it is not there yet.
func (q *Queue) asideDueLocked(it Item) (by time.Time, alone bool) {
	now := time.Now()
	switch {
	case it.Event == gapEvent || it.number <= q.lanes[it.Priority].onDisk():
		return now.Add(q.opt.SyncEvery), false // the cursor stays before it until then
	case it.Priority == sensors.Alarm:
		return now, true
	}
	return q.spillAt(it), true
}

func (r *refused) push(it refusedItem, by time.Time) {
	if len(r.young) == 0 || by.Before(r.due) {
		r.due = by
	}
	it.number = r.next
	it.data = encodeAside(it.Item)
	r.young, r.next = append(r.young, it), r.next+1
}

func (q *Queue) declareAsideLocked(it Item) {
	of := map[string]any{"boot": it.Boot, "seq": it.Seq}
	details := jsonObject("stream", it.Stream, "of", of)
	switch it.Event {
	case asideEvent:
		return
	case "":
		q.gaps.add(Gap{Stream: it.Stream, Boot: it.Boot, From: it.Seq, To: it.Seq, Count: 1, Why: Rejected})
		signal(q.arrived)
	default:
		of["event"] = it.Event
		details = jsonObject("of", of)
	}
	q.reportLocked(asideEvent, q.opt.Clock.Now(), details)
}

// Rejected returns the oldest items that were set aside and that the cursor has
// not passed, at most max; none if there are none. It does not wait. What it
// has returned may be dropped all the same, when newer ones take its place. It
// is called by the goroutine that calls Peek.
func (q *Queue) Rejected(c *Cursor, max int) ([]Item, error) {
	q.mu.Lock()
	c.settle(q.turn)
	file, from, before := q.file, c.aside+1, q.refused.inMemory()
	young := q.refused.after(c.aside, max)
	q.mu.Unlock()

	var items []Item
	for file != nil && from < before && len(items) < max {
		found, err := q.readAside(asideBlock{file, from, before, max - len(items)})
		if err != nil && !errors.Is(err, errSlow) {
			q.unreadable(file)
		}
		if err != nil {
			return nil, err
		}
		if found.last == 0 {
			break
		}
		items = append(items, q.stillAside(found)...)
		from = found.last + 1
	}
	items = append(items, young[:min(len(young), max-len(items))]...)
	for i := range items {
		items[i].aside, items[i].turn = true, c.turn
		items[i].At = q.opt.Clock.Resolve(items[i].At)
	}
	return items, nil
}

// stillAside leaves out what is acknowledged, and what is damaged for good.
func (q *Queue) stillAside(found asideRun) []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	bad := 0
	for n, err := range found.bad {
		if !q.refused.gone[n] {
			q.log.Error("item that was set aside is damaged and skipped", "number", n, "err", err)
			q.refused.forget(n)
			bad++
		}
	}
	if bad > 0 {
		q.reportLocked("storage", q.opt.Clock.Now(), jsonObject("state", "damaged", "blocks", bad))
	}
	return slices.DeleteFunc(found.items, func(it Item) bool { return q.refused.gone[it.number] || it.number <= q.refused.left })
}

// inMemory is the number of the oldest in memory.
func (r *refused) inMemory() uint64 {
	if len(r.young) > 0 {
		return r.young[0].number
	}
	return r.next
}

// after returns what is in memory beyond a number, at most max.
func (r *refused) after(number uint64, max int) (items []Item) {
	for i := r.find(number + 1); i < len(r.young) && len(items) < max; i++ {
		if !r.gone[r.young[i].number] {
			items = append(items, r.young[i].Item)
		}
	}
	return items
}

// find is the place of the first in memory from a number on.
func (r *refused) find(number uint64) int {
	return sort.Search(len(r.young), func(i int) bool { return r.young[i].number >= number })
}

// ack takes out an item. One that may be on disk stays there until a commit.
func (r *refused) ack(number uint64) {
	if number <= r.left || number >= r.next {
		return
	}
	if number <= r.tried || number < r.inMemory() {
		r.forget(number)
		return
	}
	if i := r.find(number); i < len(r.young) && r.young[i].number == number {
		r.young = slices.Delete(r.young, i, i+1)
	}
}

// forget leaves the rest to the next commit.
func (r *refused) forget(number uint64) {
	if r.gone == nil {
		r.gone = map[uint64]bool{}
	}
	r.gone[number] = true
}

func (r *refused) count() int { return max(0, r.disk+len(r.young)-len(r.gone)) }

// alone counts what is on disk nowhere.
func (r *refused) alone() (n int) {
	for i := range r.young {
		if r.young[i].alone && !r.gone[r.young[i].number] {
			n++
		}
	}
	return n
}

// change is what a commit should do: all there is, so that no cursor goes to
// disk before what it has passed.
func (r *refused) change() asideChange {
	c := asideChange{last: r.next - 1, gone: slices.Sorted(maps.Keys(r.gone))}
	for i := range r.young {
		if it := &r.young[i]; !r.gone[it.number] {
			c.puts = append(c.puts, block{last: it.number, data: it.data})
		}
	}
	r.tried = c.last
	return c
}

// applied takes over what a successful commit has done. One that failed is done
// again, number by number, whether it has landed or not.
func (r *refused) applied(c asideChange, out asideOutcome) {
	r.young = slices.Delete(r.young, 0, r.find(c.last+1))
	for _, n := range c.gone {
		delete(r.gone, n)
	}
	maps.DeleteFunc(r.gone, func(n uint64, _ bool) bool { return n <= out.left })
	r.left, r.disk = max(r.left, out.left), out.there.count
}

// adopt puts what another file has before what is in memory, which gets new
// numbers.
func (r *refused) adopt(there asideSize) {
	young := slices.DeleteFunc(r.young, func(it refusedItem) bool { return r.gone[it.number] })
	*r = refused{next: max(r.next, there.last+1), disk: there.count, due: r.due}
	for _, it := range young {
		r.push(it, r.due)
	}
}

// changeAsideLocked is what a commit should do to what was set aside.
func (q *Queue) changeAsideLocked(c *change) {
	c.aside = q.refused.change()
	c.aside.most = q.opt.MaxSize / asideShare
	c.aside.full = q.file.aside.size+c.aside.grown() > c.aside.most
	if q.purge {
		c.aside.most, c.aside.full = 0, true
	}
}

const becauseAside = "an eighth of max_size is set aside"

func (q *Queue) appliedAsideLocked(c change, out asideOutcome) {
	why := becauseAside
	if c.max < 0 {
		why = purged
	}
	q.refused.applied(c.aside, out)
	q.droppedLocked(out.dropped, out.gaps.plain(), why)
}

// purgeAsideLocked gives up what is in memory alone.
func (q *Queue) purgeAsideLocked() {
	for _, it := range q.refused.young {
		if !q.refused.gone[it.number] {
			q.droppedLocked(1, lossOf(it.Item), purged)
		}
	}
	q.refused.young = nil
}

// lossOf declares that an item is gone, unless that was done when it was set
// aside.
func lossOf(it Item) []Gap {
	if it.declared {
		return nil
	}
	return gapsOf(run{items: []Item{it}})
}
