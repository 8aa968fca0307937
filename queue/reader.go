package queue

import (
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// errSlow means that a read of the disk has neither succeeded nor failed in time. A later
// call may get its result.
var errSlow = errors.New("the disk does not answer")

// A pendingRead is one that the disk has not answered yet, or whose answer was
// not taken.
type pendingRead struct {
	what   any           // is read: a blockRead or a rejectsRead
	done   chan struct{} // closed when the disk has answered
	answer any           // a blockAnswer or a rejectsAnswer; read only after done
}

// rejectsSlot is the slot of a blockReader for what was rejected.
const rejectsSlot = len(bucketLanes)

// A blockReader reads the file with a time limit, diskTimeout. While a read is not answered,
// further calls fail at once with errSlow, so that items in memory do not wait for it.
//
// It has a slot for a block of each lane, by priority, and one for what was
// rejected. It is used by the goroutine that calls Peek alone, without a lock.
type blockReader [rejectsSlot + 1]*pendingRead // nil: nothing is read

// read calls read in a goroutine of its own, which may outlive the queue, and
// returns its answer, or that of an earlier call for the same thing that came too
// late; or errSlow.
func (s *blockReader) read(slot int, what any, read func() any) (any, error) {
	b := s[slot]
	if b == nil || b.isDone() && b.what != what {
		b = &pendingRead{what: what, done: make(chan struct{})}
		s[slot] = b
		go func() { defer close(b.done); b.answer = read() }()
		b.wait(diskTimeout)
	}
	if !b.isDone() {
		return nil, errSlow
	}
	s[slot] = nil
	return b.answer, nil
}

// isDone reports whether the disk has answered, without waiting.
func (b *pendingRead) isDone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// wait waits for the answer, but not longer than limit.
func (b *pendingRead) wait(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
}

// blockRead is a read of the oldest intact block of a lane between two numbers.
// Two that are equal have the same answer.
type blockRead struct {
	file       *file
	generation int // Queue.opened.generation
	lane       sensors.Priority
	from, last uint64
	evictions  int // lane.disk.evictions: what a late answer brings may be evicted since
}

// A blockAnswer is what file.read returns.
type blockAnswer struct {
	r       run
	damaged int
	err     error
}

// readBlock is file.read with a time limit.
func (s *blockReader) readBlock(what blockRead) (run, int, error) {
	got, err := s.read(int(what.lane), what, func() any {
		r, damaged, err := what.file.read(what.lane, what.from, what.last)
		return blockAnswer{r, damaged, err}
	})
	if err != nil {
		return run{}, 0, err
	}
	a := got.(blockAnswer)
	return a.r, a.damaged, a.err
}

// rejectsRead is a read of rejected items, the oldest first.
type rejectsRead struct {
	file         *file
	from, before uint64 // numbers; before is not read
	max          int    // items
	commits      int    // rejects.commits: a late answer may hold what a commit took out since
}

// A rejectsAnswer is what file.readRejects returns.
type rejectsAnswer struct {
	r   rejectsRun
	err error
}

// readRejects is file.readRejects with a time limit.
func (s *blockReader) readRejects(what rejectsRead) (rejectsRun, error) {
	got, err := s.read(rejectsSlot, what, func() any {
		r, err := what.file.readRejects(what.from, what.before, what.max)
		return rejectsAnswer{r, err}
	})
	if err != nil {
		return rejectsRun{}, err
	}
	a := got.(rejectsAnswer)
	return a.r, a.err
}
