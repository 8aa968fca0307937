package queue

import (
	"errors"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Cursor is the position up to which a sender has read, ahead of what is acknowledged.
// The zero value is before the oldest item, where a new session starts. It belongs to the
// goroutine that calls Peek.
type Cursor struct {
	// Reuse lets Peek return a slice that the next call with this cursor overwrites. This
	// saves a sender that copies the items an allocation for each call.
	Reuse bool

	passed     [2]uint64 // number of the newest item passed, by lane
	gap        uint64    // the newest gap passed
	rejected   uint64    // number of the newest rejected item passed
	generation int       // Queue.opened.generation for which the numbers are valid
	items      []Item    // the slice that Peek returned last, with Reuse; otherwise nil
}

// Advance moves the cursor over an item, the first that Peek or Rejected returned.
func (c *Cursor) Advance(it Item) {
	if it.rejected {
		c.sync(it.generation)
		c.rejected = it.number
		return
	}
	if it.Event == gapEvent {
		c.gap = it.Seq
		return
	}
	c.sync(it.generation)
	c.passed[it.Priority] = it.number
}

// Rewind goes back to the oldest item.
func (c *Cursor) Rewind() { *c = Cursor{Reuse: c.Reuse, items: c.items} }

// sync discards the positions if they are numbers of an earlier file: then Peek starts again
// at the oldest item.
func (c *Cursor) sync(generation int) {
	if c.generation != generation {
		c.passed, c.rejected, c.generation = [2]uint64{}, 0, generation
	}
}

// Peek returns the oldest items that the cursor has not passed, at most max: alarms and
// events, then gaps, then routine readings. If there are none it returns at once, and
// Arrived signals new ones. With the same cursor it returns the same items again, until
// Ack. Times are corrected by what is known of the clock now: see
// [clock.Timekeeper.Resolve].
//
// An error means that one lane cannot be read and the other has no items. Peek never skips
// readings of a lane, because their order is a promise. Only one goroutine at a time may
// call it.
func (q *Queue) Peek(c *Cursor, max int) ([]Item, error) {
	items, err := q.peek(c, max)
	for i := range items {
		items[i].At = q.opt.Clock.Resolve(items[i].At)
	}
	return items, err
}

// peek does the work of Peek. It holds mu, except while it reads the disk; the lanes are
// checked again after that.
func (q *Queue) peek(c *Cursor, max int) ([]Item, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := c.items[:0]
	err := q.loadLocked(sensors.Alarm, c, max)
	if err == nil {
		items = q.lanes[sensors.Alarm].peek(items, max, c.passed[sensors.Alarm])
	}
	// If there are alarms, they are returned without waiting for routine readings on disk.
	room := max - len(items)
	_, onDisk := q.nextReadLocked(sensors.Routine, c, room)
	routine := len(items) == 0 || !onDisk
	if routine {
		failed := q.loadLocked(sensors.Routine, c, room)
		routine, err = failed == nil, errors.Join(err, failed)
	}
	items = q.gaps.peek(items, max-len(items), c.gap, q.gapEventLocked)
	if routine {
		items = q.lanes[sensors.Routine].peek(items, max-len(items), c.passed[sensors.Routine])
	}
	c.keep(items)
	if len(items) == 0 {
		return nil, err
	}
	return items, nil
}

// keep keeps the slice that Peek returns for the next call, with Reuse.
func (c *Cursor) keep(items []Item) {
	if c.Reuse {
		clear(c.items[min(len(items), len(c.items)):]) // releases the strings
		c.items = items
	}
}

// Arrived holds a token when there may be more for Peek.
func (q *Queue) Arrived() <-chan struct{} { return q.arrived }

// loadLocked reads blocks of a lane until room readings after the cursor are in head, or all
// there are. Several blocks may be needed, because the cursor may have passed readings
// before they were moved to blocks. It releases the lock while it reads, so that Put does
// not wait for the disk.
func (q *Queue) loadLocked(p sensors.Priority, c *Cursor, room int) error {
	for {
		read, needed := q.nextReadLocked(p, c, room)
		if !needed {
			return nil
		}
		q.mu.Unlock()
		r, damaged, err := q.reader.readBlock(read)
		q.mu.Lock()
		l := &q.lanes[p]
		switch {
		case errors.Is(err, errSlow):
			return err
		case err != nil:
			if q.noteUnreadableLocked(read.file) {
				return err
			}
		case read.evictions == l.disk.evictions && read.generation == q.opened.generation:
			for i := range r.items {
				r.items[i].generation = read.generation
			}
			q.declareDamageLocked(l, r, damaged, read.last)
			l.loaded(r, read.last)
		} // otherwise the block may have been evicted, or the file was replaced
	}
}

// nextReadLocked returns the next read that is needed to have room readings of a lane after
// the cursor, and whether there is one. It calls c.sync.
func (q *Queue) nextReadLocked(p sensors.Priority, c *Cursor, room int) (read blockRead, needed bool) {
	c.sync(q.opened.generation)
	l := &q.lanes[p]
	from, needed := l.nextToLoad(l.passed(c.passed[p]) + room)
	return blockRead{q.opened.file, q.opened.generation, p, from, l.disk.lastBlock, l.disk.evictions}, needed
}
