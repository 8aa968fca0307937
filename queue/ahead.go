package queue

import (
	"errors"
	"sort"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Cursor is how far a drain has read ahead of what it has acknowledged. The
// zero value stands at the oldest item, which is where a new session starts.
type Cursor struct {
	passed     [2]uint64 // number of the newest item passed, by lane
	gap        uint64    // the newest gap passed
	rejected   uint64    // number of the newest item passed that was set aside
	generation int       // Queue.turn, when the numbers were given
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
func (c *Cursor) Rewind() { *c = Cursor{} }

// sync forgets the numbers of a file that is gone: what had them comes again.
func (c *Cursor) sync(turn int) {
	if c.generation != turn {
		c.passed, c.rejected, c.generation = [2]uint64{}, 0, turn
	}
}

// Peek returns the oldest items that the cursor has not passed, at most max:
// alarms and events, then gaps, then routine readings. It does not wait: no
// items means that there are none, and Arrived says when there are. With the same
// cursor it returns the same items again, until Ack. Their times are as well
// known as can be by then: see [clock.Timekeeper.Resolve].
//
// An error means that a lane cannot be read and that the other has nothing. A
// lane is never skipped in part: its order is a promise. Peek is called by one
// goroutine at a time.
func (q *Queue) Peek(c *Cursor, max int) ([]Item, error) {
	err := q.loadAhead(sensors.Alarm, c, max)
	items := q.peekAlarms(c, max, err)
	// An alarm does not wait for the disk to give routine readings.
	room := max - len(items)
	routine := len(items) == 0 || !q.onDisk(sensors.Routine, q.wanted(sensors.Routine, c, room))
	if routine {
		failed := q.loadAhead(sensors.Routine, c, room)
		routine, err = failed == nil, errors.Join(err, failed)
	}
	items = q.peekRest(items, c, max, routine)
	if len(items) == 0 {
		return nil, err
	}
	for i := range items {
		items[i].At = q.opt.Clock.Resolve(items[i].At)
	}
	return items, nil
}

func (q *Queue) peekAlarms(c *Cursor, max int, failed error) []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if failed != nil {
		return nil
	}
	c.sync(q.generation)
	return q.lanes[sensors.Alarm].peek(nil, max, c.passed[sensors.Alarm])
}

// peekRest hands out the gaps and, if they can be read, the routine readings
// behind them. Both in one step: no gap comes between.
func (q *Queue) peekRest(items []Item, c *Cursor, max int, routine bool) []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.sync(q.generation)
	items = q.gaps.peek(items, max-len(items), c.gap, func() Item { return q.eventLocked(q.opt.Clock.Now()) })
	if routine {
		items = q.lanes[sensors.Routine].peek(items, max-len(items), c.passed[sensors.Routine])
	}
	return items
}

// Arrived holds a token when there may be more for Peek.
func (q *Queue) Arrived() <-chan struct{} { return q.arrived }

// wanted is how many readings from disk a lane needs in memory, so that room
// of them are beyond the cursor.
func (q *Queue) wanted(p sensors.Priority, c *Cursor, room int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.sync(q.generation)
	return q.lanes[p].passed(c.passed[p]) + room
}

// loadAhead reads from disk until there is enough beyond the cursor: what is
// loaded first may have been passed when it was in memory alone.
func (q *Queue) loadAhead(p sensors.Priority, c *Cursor, room int) error {
	for want := q.wanted(p, c, room); q.onDisk(p, want); want = q.wanted(p, c, room) {
		if err := q.load(p, want); err != nil {
			return err
		}
	}
	return nil
}

// passed counts the readings in head up to a number.
func (l *lane) passed(number uint64) int {
	if len(l.head) == 0 || l.head[0].number > number {
		return 0
	}
	return sort.Search(len(l.head), func(i int) bool { return l.head[i].number > number })
}
