package sensors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const (
	measureTimeout = 10 * time.Second // for one call into a driver, without what it waits for its turn
	grace          = time.Second      // for a driver to return after its context has ended
)

// answer is what a call into a driver returned.
type answer struct {
	sensor  Sensor   // of an open
	samples []Sample // of a measurement
	err     error
}

// A call is one call into a driver, on a goroutine that no other call has meanwhile, so that
// one that hangs in the kernel holds up nobody but its own sensor.
//
// A call that does not return is left behind. It costs its goroutine, and the
// thread if it is in the kernel, until it returns; then it closes the sensor that
// it was about, which nobody may have called in the meantime.
type call struct {
	began time.Time
	done  chan struct{} // closed when it has returned and cleaned up

	mu       sync.Mutex
	finished bool // got is set
	left     bool // nobody waits any more
	got      answer
	back     func() // called when done is closed; nil: nobody asked for it
}

// start calls into a driver, on a goroutine of the pool. late cleans up after a call that was
// left behind.
func start(ctx context.Context, p *pool, do func(context.Context) answer, late func(answer)) *call {
	c := &call{began: time.Now(), done: make(chan struct{})}
	p.run(func() (freed func()) {
		returned := false
		defer func() {
			if !returned { // a driver ended the goroutine (runtime.Goexit)
				c.end()
			}
		}()
		got := guarded(func() answer { return do(ctx) })
		if left := c.finish(got); left {
			guarded(func() answer { late(got); return answer{} })
		}
		returned = true
		return c.end
	})
	return c
}

// end says that the call has returned and cleaned up.
func (c *call) end() {
	close(c.done)
	c.mu.Lock()
	back := c.back
	c.mu.Unlock()
	if back != nil {
		back()
	}
}

// whenBack calls back once the call has returned and cleaned up, on the goroutine of
// the call, or at once if it has. It is called once.
func (c *call) whenBack(back func()) {
	c.mu.Lock()
	select {
	case <-c.done:
		c.mu.Unlock()
		back()
	default:
		c.back = back
		c.mu.Unlock()
	}
}

// finish sets the answer, and reports whether nobody waits for it any more.
func (c *call) finish(got answer) (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got, c.finished = got, true
	return c.left
}

// guarded makes a driver's panic that driver's failure. Third-party drivers
// index into what a bus returned; that must not end the agent.
func guarded(do func() answer) (got answer) {
	defer func() {
		if p := recover(); p != nil {
			got = answer{err: fmt.Errorf("driver panicked: %v\n%s", p, debug.Stack())}
		}
	}()
	return do()
}

// wait returns the answer, or leaves the call behind if none comes until some
// time after ctx has ended. It calls blocks before it waits for a driver that has not
// returned at once.
func (c *call) wait(ctx context.Context, blocks func()) (got answer, left bool) {
	runtime.Gosched() // to the goroutine of the call
	select {
	case <-c.done:
		return c.got, false
	default:
	}
	blocks()
	select {
	case <-c.done:
		return c.got, false
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = !c.finished
	return c.got, c.left
}

// hangs says for how long there has been no answer.
func (c *call) hangs() error {
	return fmt.Errorf("hangs: no answer for %v", time.Since(c.began).Truncate(measureTimeout))
}

// bounded calls into a driver and waits for the answer, at most for limit if
// there is one. If the call hangs, it is returned too.
func bounded(ctx context.Context, p *pool, limit time.Duration, blocks func(),
	do func(context.Context) answer, late func(answer)) (answer, *call) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = withLimit(ctx, limit)
		defer cancel()
	}
	c := start(ctx, p, do, late)
	got, left := c.wait(ctx, blocks)
	if left {
		return answer{err: c.hangs()}, c
	}
	if errors.Is(got.err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		got.err = fmt.Errorf("no answer within %v: %w", limit, got.err)
	}
	return got, nil
}
