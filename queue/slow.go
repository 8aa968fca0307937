package queue

import (
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// errSlow means that the disk neither gives what is read nor fails.
var errSlow = errors.New("the disk does not answer")

// A pendingRead read is one that the disk has not answered yet, or whose answer
// nobody has taken.
type pendingRead struct {
	what   any // is read
	done   chan struct{}
	answer any // once it is done
}

// What can be read at a time: a block of each lane, and what was set aside.
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
	evictions  int // lane.turn: what a late answer brings may be evicted since
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

// readRejects is file.readAside with patience.
func (q *Queue) readRejects(what rejectsRead) (rejectsRun, error) {
	type answer struct {
		r   rejectsRun
		err error
	}
	got, err := q.readWithPatience(rejectsSlot, what, func() any {
		r, err := what.file.readRejects(what.from, what.before, what.max)
		return answer{r, err}
	})
	if err != nil {
		return rejectsRun{}, err
	}
	a := got.(answer)
	return a.r, a.err
}
