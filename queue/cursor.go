package queue

import (
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Cursor is how far a drain has read ahead of what it has acknowledged. The
// zero value stands at the oldest item, which is where a new session starts.
type Cursor struct {
	passed     [2]uint64 // number of the newest item passed, by lane
	gap        uint64    // the newest gap passed
	rejected   uint64    // number of the newest item passed that was rejected
	generation int       // Queue.opened.generation, when the numbers were given
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
func (c *Cursor) sync(generation int) {
	if c.generation != generation {
		c.passed, c.rejected, c.generation = [2]uint64{}, 0, generation
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
	c.sync(q.opened.generation)
	return q.lanes[sensors.Alarm].peek(nil, max, c.passed[sensors.Alarm])
}

// peekRest issues the gaps and, if they can be read, the routine readings
// behind them. Both in one step: no gap comes between.
func (q *Queue) peekRest(items []Item, c *Cursor, max int, routine bool) []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.sync(q.opened.generation)
	items = q.gaps.peek(items, max-len(items), c.gap, q.gapEventLocked)
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
	c.sync(q.opened.generation)
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

// onDisk says that the oldest readings of a lane must be read from disk.
func (q *Queue) onDisk(p sensors.Priority, want int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, needed := q.lanes[p].toLoad(want)
	return needed
}

// load brings the oldest readings of a lane into memory if they are on disk,
// as many as wanted. The disk is read without the lock, so that Put does not
// wait for it.
func (q *Queue) load(p sensors.Priority, want int) error {
	l := &q.lanes[p]
	for {
		q.mu.Lock()
		from, needed := l.toLoad(want)
		last, evictions, generation, file := l.disk.lastBlock, l.disk.evictions, q.opened.generation, q.opened.file
		q.mu.Unlock()
		if !needed || want == 0 {
			return nil
		}
		r, damaged, err := q.readBlock(blockRead{file, p, from, last, evictions})
		if errors.Is(err, errSlow) {
			return err
		} else if err != nil && q.noteUnreadable(file) {
			return err
		} else if err != nil {
			continue
		}
		for i := range r.items {
			r.items[i].generation = generation
		}
		q.mu.Lock()
		// Else what was read may be evicted, or is of a file that was replaced.
		if evictions == l.disk.evictions && generation == q.opened.generation {
			q.declareDamageLocked(l, r, damaged)
			l.loaded(r, last)
		}
		q.mu.Unlock()
	}
}

// errSlow means that the disk neither gives what is read nor fails.
var errSlow = errors.New("the disk does not answer")

// A pendingRead read is one that the disk has not answered yet, or whose answer
// was not taken.
type pendingRead struct {
	what   any // is read
	done   chan struct{}
	answer any // once it is done
}

// What can be read at a time: a block of each lane, and what was rejected.
const rejectsSlot = len(bucketLanes)

// readWithPatience reads, and waits for a disk that does not answer once. Until it has
// answered, further calls fail at once: what is in memory must not wait behind
// it. It is called by the goroutine that calls Peek.
func (q *Queue) readWithPatience(slot int, what any, read func() any) (any, error) {
	b := q.reads[slot]
	if b == nil || b.isDone() && b.what != what {
		b = &pendingRead{what: what, done: make(chan struct{})}
		q.reads[slot] = b
		go func() { defer close(b.done); b.answer = read() }()
		b.wait(diskPatience)
	}
	if !b.isDone() {
		return nil, errSlow
	}
	q.reads[slot] = nil
	return b.answer, nil
}

func (b *pendingRead) isDone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

func (b *pendingRead) wait(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
}

type blockRead struct {
	file       *file
	lane       sensors.Priority
	from, last uint64
	evictions  int // lane.disk.evictions: what a late answer brings may be evicted since
}

type blockAnswer struct {
	r       run
	damaged int
	err     error
}

// readBlock is file.read with patience.
func (q *Queue) readBlock(what blockRead) (run, int, error) {
	got, err := q.readWithPatience(int(what.lane), what, func() any {
		r, damaged, err := what.file.read(what.lane, what.from, what.last)
		return blockAnswer{r, damaged, err}
	})
	if err != nil {
		return run{}, 0, err
	}
	a := got.(blockAnswer)
	return a.r, a.damaged, a.err
}

type rejectsRead struct {
	file         *file
	from, before uint64
	max          int
}

type rejectsAnswer struct {
	r   rejectsRun
	err error
}

// readRejects is file.readRejects with patience.
func (q *Queue) readRejects(what rejectsRead) (rejectsRun, error) {
	got, err := q.readWithPatience(rejectsSlot, what, func() any {
		q.mu.Lock()
		commits := q.rejects.commits
		q.mu.Unlock()
		r, err := what.file.readRejects(what.from, what.before, what.max)
		r.commits = commits
		return rejectsAnswer{r, err}
	})
	if err != nil {
		return rejectsRun{}, err
	}
	a := got.(rejectsAnswer)
	return a.r, a.err
}
