package sensors

import (
	"context"
	"sync"
	"time"
)

// limited is the context of a call with a time limit. The time is paused while the driver
// waits for a shared bus, so that the last of many parts on a slow bus has as much time as
// the first.
type limited struct {
	context.Context // the caller's

	mu      sync.Mutex // guards what follows
	done    chan struct{}
	err     error // why done is closed; nil: it is open
	timer   *time.Timer
	left    time.Duration // the rest of the limit, as of began
	began   time.Time     // when the time last began to run
	waiting int           // calls of pause without their resume; more than 0: the time is paused
	stop    func() bool   // no longer waits for the end of the caller's context
}

// limitKey is the context key of the limited itself.
type limitKey struct{}

// withLimit returns a context that ends with its parent, or when the limit has passed. The
// caller has to call the returned function, which releases the timer.
func withLimit(parent context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	c := &limited{Context: parent, done: make(chan struct{}), left: limit, began: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(limit, func() { c.end(context.DeadlineExceeded) })
	c.stop = context.AfterFunc(parent, func() { c.end(parent.Err()) })
	return c, func() { c.end(context.Canceled) }
}

// end ends the context, once.
func (c *limited) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	c.timer.Stop()
	c.stop()
}

// Done is that of context.Context: closed when the limit has passed or the parent is
// done.
func (c *limited) Done() <-chan struct{} { return c.done }

// Err is that of context.Context: context.DeadlineExceeded after the limit.
func (c *limited) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value returns the limited itself for limitKey, else the parent's value.
func (c *limited) Value(key any) any {
	if key == (limitKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// pause pauses the time until as many calls of resume.
func (c *limited) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting++; c.waiting == 1 && c.timer.Stop() {
		c.left = max(0, c.left-time.Since(c.began))
	}
}

// resume undoes one pause: the time runs again after the last one.
func (c *limited) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting--; c.waiting == 0 && c.err == nil {
		c.began = time.Now()
		c.timer.Reset(c.left)
	}
}

// Waiting says that a driver begins to wait for a shared resource, such as a bus. The
// driver calls served when it has the resource; until then the time limit of its call is
// paused. The driver has to limit the wait itself, for the case that the holder hangs.
// Waiting may be called from any goroutine; without a sampler's ctx it does nothing.
func Waiting(ctx context.Context) (served func()) {
	c, ok := ctx.Value(limitKey{}).(*limited)
	if !ok {
		return func() {}
	}
	c.pause()
	return sync.OnceFunc(c.resume)
}
