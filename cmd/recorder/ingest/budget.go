package ingest

import "sync"

// A budget bounds bytes: take waits while there are none left. One goroutine takes,
// another gives back.
type budget struct {
	mu   sync.Mutex
	room sync.Cond // its lock is mu
	left int       // guarded by mu; may be negative after one large take
}

// newBudget returns a budget of so many bytes.
func newBudget(bytes int) *budget {
	b := &budget{left: bytes}
	b.room.L = &b.mu
	return b
}

// take waits until something is left, and takes n, even if that is more.
func (b *budget) take(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// One message may take more than is left: else a large one would wait for ever.
	for b.left <= 0 {
		b.room.Wait()
	}
	b.left -= n
}

// give gives n back, which take has taken, and wakes the goroutine that waits.
func (b *budget) give(n int) {
	b.mu.Lock()
	b.left += n
	b.mu.Unlock()
	// One goroutine at most waits.
	b.room.Signal()
}
