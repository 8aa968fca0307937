package clock

import (
	"context"
	"time"
)

// Sleep waits for d, or until ctx is done. The caller has to check ctx.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
