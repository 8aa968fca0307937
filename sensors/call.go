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
	measureTimeout = 10 * time.Second // for one call into a driver, without its waits for a shared bus
	grace          = time.Second      // for a driver to return after its context has ended
)

// answer is what a call into a driver returned.
type answer struct {
	sensor  Sensor   // from Open
	samples []Sample // from Next
	err     error
}

// A call is one call into a driver. It has a goroutine for itself, so that a call that
// hangs in the kernel delays no other sensor.
//
// A call that does not return in time is abandoned. Until it returns it costs a goroutine,
// and a thread if it is in the kernel. Then it closes the sensor, which nobody else may
// have called in the meantime.
type call struct {
	began time.Time
	done  chan struct{} // closed when the driver has returned and the cleanup is done

	mu        sync.Mutex // guards what follows; got may also be read without it after done
	finished  bool       // got is set
	abandoned bool       // nobody waits for the answer
	got       answer
	returned  func() // called after done is closed; nil: not set
}

// start calls into a driver on a goroutine of the pool. cleanup gets the answer of a call
// that was abandoned.
func start(ctx context.Context, p *pool, do func(context.Context) answer, cleanup func(answer)) *call {
	c := &call{began: time.Now(), done: make(chan struct{})}
	p.run(func() (freed func()) {
		returned := false
		defer func() {
			if !returned { // the driver ended the goroutine (runtime.Goexit)
				c.end()
			}
		}()
		got := catchPanic(func() answer { return do(ctx) })
		if abandoned := c.finish(got); abandoned {
			catchPanic(func() answer { cleanup(got); return answer{} })
		}
		returned = true
		return c.end
	})
	return c
}

// end closes done and calls what onReturn has set. It is called once.
func (c *call) end() {
	close(c.done)
	c.mu.Lock()
	returned := c.returned
	c.mu.Unlock()
	if returned != nil {
		returned()
	}
}

// onReturn sets a function to be called once, on the goroutine of the call, when done is
// closed. If done is closed already, onReturn calls it itself. onReturn may be called once.
func (c *call) onReturn(returned func()) {
	c.mu.Lock()
	select {
	case <-c.done:
		c.mu.Unlock()
		returned()
	default:
		c.returned = returned
		c.mu.Unlock()
	}
}

// finish sets the answer, and reports whether the call was abandoned before.
func (c *call) finish(got answer) (abandoned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got, c.finished = got, true
	return c.abandoned
}

// catchPanic returns a driver's panic as an error with its stack. Third-party drivers index
// into what a bus returned; their panic must not end the agent.
func catchPanic(do func() answer) (got answer) {
	defer func() {
		if p := recover(); p != nil {
			got = answer{err: fmt.Errorf("driver panicked: %v\n%s", p, debug.Stack())}
		}
	}()
	return do()
}

// wait returns the answer, or abandons the call if there is none at the time grace after
// the end of ctx. If the driver has not returned at once, wait calls blocks before it waits.
func (c *call) wait(ctx context.Context, blocks func()) (got answer, abandoned bool) {
	runtime.Gosched() // lets the goroutine of the call run: most drivers then have returned
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
	c.abandoned = !c.finished
	return c.got, c.abandoned
}

// hangError says for how long the call has had no answer.
func (c *call) hangError() error {
	return fmt.Errorf("hangs: no answer for %v", time.Since(c.began).Truncate(measureTimeout))
}

// callWithLimit calls into a driver and waits for the answer, at most for limit; 0: without
// a limit. It returns the call too if the call was abandoned, else nil. See start for
// cleanup and wait for blocks.
func callWithLimit(ctx context.Context, p *pool, limit time.Duration, blocks func(),
	do func(context.Context) answer, cleanup func(answer)) (answer, *call) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = withLimit(ctx, limit)
		defer cancel()
	}
	c := start(ctx, p, do, cleanup)
	got, abandoned := c.wait(ctx, blocks)
	if abandoned {
		return answer{err: c.hangError()}, c
	}
	if errors.Is(got.err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		got.err = fmt.Errorf("no answer within %v: %w", limit, got.err)
	}
	return got, nil
}
