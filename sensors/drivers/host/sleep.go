package host

import (
	"context"
	"time"
)

// Sleep waits for d, or until ctx ends: then it returns the error of ctx. A d that
// is not positive returns at once.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
