package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
)

// An opener opens the queue of one configuration after another. It is for one goroutine at a
// time. The zero value and nil have abandoned no opening.
type opener struct {
	// abandoned has the openings that did not end in time, by the path of the file: each may
	// hold the lock of the file until it ends. It then sends what its queue could not write,
	// nil if it was never open.
	abandoned map[string]<-chan *queue.Unsaved
}

// An opening is the result of opening the queue.
type opening struct {
	queue *queue.Queue
	err   error
}

// open opens the queue. If ctx is done and the disk hangs, open returns after closeTimeout.
// The goroutine that opens the queue then closes it as soon as it can, or ends with the
// process; the next start does not count that as a crash.
func (o *opener) open(ctx context.Context, opt queue.Options, log *slog.Logger) (*queue.Queue, error) {
	if o != nil && o.abandoned[opt.Path] != nil {
		select {
		case opt.Unsaved = <-o.abandoned[opt.Path]:
			delete(o.abandoned, opt.Path)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	opened := make(chan opening, 1)
	go func() {
		q, err := queue.OpenContext(ctx, opt, log)
		opened <- opening{q, err}
	}()
	select {
	case r := <-opened:
		return r.ready(opt)
	case <-ctx.Done():
	}
	select {
	case r := <-opened: // the caller ends an open queue in the usual way
		return r.ready(opt)
	case <-time.After(closeTimeout):
		o.abandon(opt, opened)
		return nil, ctx.Err()
	}
}

// ready returns the result of an opening, and reports if the previous start was unclean.
func (r opening) ready(opt queue.Options) (*queue.Queue, error) {
	if r.err == nil && r.queue.UncleanStart() > 0 {
		reportUnclean(r.queue, opt.Clock)
	}
	return r.queue, r.err
}

// abandon closes the queue when it is open at last. Without an opener, no other queue follows.
func (o *opener) abandon(opt queue.Options, opened <-chan opening) {
	left := make(chan *queue.Unsaved, 1)
	go func() {
		q, err := (<-opened).ready(opt)
		if err != nil {
			left <- opt.Unsaved
			return
		}
		left <- q.Unsaved(q.Close(), false)
	}()
	if o == nil {
		return
	}
	if o.abandoned == nil {
		o.abandoned = map[string]<-chan *queue.Unsaved{}
	}
	o.abandoned[opt.Path] = left
}
