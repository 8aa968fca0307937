package queue

import (
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// errSlow means that a read of the disk has neither succeeded nor failed in time. A later
// call may get its result.
var errSlow = errors.New("the disk does not answer")

// A pendingRead is a read without an answer of the disk yet, or whose answer was not used.
type pendingRead struct {
	what   any           // the request: a blockRead or a rejectsRead
	done   chan struct{} // closed when the disk has answered
	answer any           // a blockAnswer or a rejectsAnswer; read only after done
}

// rejectsSlot is the slot of a blockReader for rejected items.
const rejectsSlot = len(bucketLanes)

// A blockReader reads the file with a time limit, diskTimeout. While a read is not answered,
// further calls fail at once with errSlow, so that items in memory do not wait for it.
//
// It has a slot for the blocks of each lane, by priority, and one for rejected items. Only
// the goroutine that calls Peek uses it, without a lock.
type blockReader [rejectsSlot + 1]*pendingRead // nil: nothing is read

// read calls read in a new goroutine, which may live longer than the queue, and returns its
// answer. If an earlier call with the same request got errSlow and its answer has come
// since, it returns that one. Without an answer in time it returns errSlow.
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

// A blockRead is a request for the oldest intact block of a lane between two numbers. Equal
// requests have the same answer.
type blockRead struct {
	file       *file
	generation int // Queue.opened.generation
	lane       sensors.Priority
	from, last uint64
	evictions  int // lane.disk.evictions, because the block of a late answer may have been evicted
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

// A rejectsRead is a request for the oldest rejected items.
type rejectsRead struct {
	file         *file
	from, before uint64 // numbers; before is not read
	max          int    // items
	commits      int    // rejects.commits, because items of a late answer may have been deleted
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
