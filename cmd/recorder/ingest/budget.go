package ingest

import "sync"

// A budget limits the bytes in use: acquire waits while none are left. One goroutine calls acquire,
// and another one release.
type budget struct {
	mu   sync.Mutex
	room sync.Cond // its lock is mu
	left int       // guarded by mu; may be negative after one large acquire
}

// newBudget returns a budget with the given number of bytes.
func newBudget(bytes int) *budget {
	b := &budget{left: bytes}
	b.room.L = &b.mu
	return b
}

// acquire waits until at least one byte is left, and takes n bytes, even if fewer are left.
func (b *budget) acquire(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// One message may take more than is left: else a large one would wait for ever.
	for b.left <= 0 {
		b.room.Wait()
	}
	b.left -= n
}

// release returns n bytes to the budget and wakes a waiting acquire.
func (b *budget) release(n int) {
	b.mu.Lock()
	b.left += n
	b.mu.Unlock()
	// One goroutine at most waits.
	b.room.Signal()
}
