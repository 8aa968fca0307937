package sensors

import (
	"context"
	"sync"
	"time"
)

// limited is the context of a call that may take only so long. The time stands
// still while the driver waits for its turn, so that the last of many parts on a
// slow bus has as much of it as the first.
type limited struct {
	context.Context // the caller's

	mu      sync.Mutex
	done    chan struct{}
	err     error
	timer   *time.Timer
	left    time.Duration
	began   time.Time // when the time last began to run
	waiting int
	stop    func() bool // of the caller's end
}

// limitKey finds the limit that a context is under.
type limitKey struct{}

// withLimit is a context that ends with another one, or when the time is over. The
// function that it returns lets go of it.
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

// Err is why it is done, nil before.
func (c *limited) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value finds the limit itself, else what the parent has.
func (c *limited) Value(key any) any {
	if key == (limitKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// pause stops the time.
func (c *limited) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting++; c.waiting == 1 && c.timer.Stop() {
		c.left = max(0, c.left-time.Since(c.began))
	}
}

// resume lets the time run again.
func (c *limited) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting--; c.waiting == 0 && c.err == nil {
		c.began = time.Now()
		c.timer.Reset(c.left)
	}
}

// Waiting tells that a driver waits for its turn at what others use, and returns
// what tells that it has it: the time that the call may take stands still
// meanwhile. The driver has to end the wait itself if whoever has the turn hangs.
func Waiting(ctx context.Context) (served func()) {
	c, ok := ctx.Value(limitKey{}).(*limited)
	if !ok {
		return func() {}
	}
	c.pause()
	return sync.OnceFunc(c.resume)
}
