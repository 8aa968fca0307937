package work

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// ours is a running queue of package queue.
type ours struct {
	*queue.Queue
	stop context.CancelFunc
	done chan struct{}
}

func openOurs(ctx context.Context, path string, syncEvery time.Duration) (*ours, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	q, err := queue.Open(queue.Options{Path: path, MaxSize: unbounded, SyncEvery: syncEvery}, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	o := &ours{Queue: q, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		q.Run(ctx) // its only error is that of ctx
	}()
	return o, nil
}

func (o *ours) put(r sensors.Reading) error {
	o.Put(r)
	return nil
}

func (o *ours) take(ctx context.Context, limit int) (int, error) {
	for {
		items, err := o.Peek(&queue.Cursor{}, limit)
		if err != nil {
			return 0, err
		}
		if len(items) > 0 {
			return len(items), o.Ack(items)
		}
		select {
		case <-o.Arrived():
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (o *ours) backlog() int { return int(o.Stats().Backlog) }
func (o *ours) commits() int { return int(o.Stats().Commits) }

// close closes the queue; it is an error if the queue has dropped a reading, because then
// no figure is valid.
func (o *ours) close() error {
	o.stop()
	<-o.done
	if n := o.Stats().Dropped; n > 0 {
		return fmt.Errorf("%d readings were dropped", n)
	}
	return o.Close()
}
