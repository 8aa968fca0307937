package drivers

import (
	"context"
	"time"
)

// leveler is a line of which only the level can be had.
type leveler interface {
	level(context.Context) (high bool, err error)
	Close() error
}

// polledLine is a line that announces no edges.
type polledLine struct{ leveler }

const pollWait = 20 * time.Millisecond // short against a debounce of 50 ms

func (polledLine) wait(ctx context.Context, timeout time.Duration, _ []edge) (int, error) {
	idle(ctx, min(max(timeout, time.Millisecond), pollWait))
	return 0, nil
}

// idle lets time pass, unless ctx ends.
func idle(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
