package ingest

import "sync"

// A budget limits the bytes in use: take waits while none are left. One goroutine calls take,
// and another one give.
type budget struct {
	mu   sync.Mutex
	room sync.Cond // its lock is mu
	left int       // guarded by mu; may be negative after one large take
}

// newBudget returns a budget with the given number of bytes.
func newBudget(bytes int) *budget {
	b := &budget{left: bytes}
	b.room.L = &b.mu
	return b
}

// take waits until at least one byte is left, and takes n bytes, even if fewer are left.
func (b *budget) take(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// One message may take more than is left: else a large one would wait for ever.
	for b.left <= 0 {
		b.room.Wait()
	}
	b.left -= n
}

// give returns n bytes to the budget and wakes a waiting take.
func (b *budget) give(n int) {
	b.mu.Lock()
	b.left += n
	b.mu.Unlock()
	// One goroutine at most waits.
	b.room.Signal()
}
