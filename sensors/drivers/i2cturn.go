package drivers

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"periph.io/x/conn/v3/i2c"
)

// transfer does one transfer unless ctx is done, also by the time that it is
// its turn. After an error that means that the adapter itself has gone, the bus
// is closed at once and every other user learns it at its next transfer.
func (b *sharedBus) transfer(ctx context.Context, addr uint16, w, r []byte) error {
	bus, err := b.take(ctx, addr)
	if err != nil {
		return err
	}
	defer b.done()
	err = bus.Tx(addr, w, r)
	if adapterGone(err) {
		b.mu.Lock()
		b.leaveLocked(err)
		b.mu.Unlock()
	}
	b.judge(ctx, err, r)
	if errors.Is(err, syscall.EBUSY) {
		return errors.New("the bus stays busy (is a part holding it low?)") // not what EBUSY of an address means
	}
	return err
}

// take waits for the bus's turn; [sharedBus.done] gives it back.
func (b *sharedBus) take(ctx context.Context, addr uint16) (i2c.BusCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, b.busy()
		}
		return nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone != nil {
		gone := b.gone
		_ = b.doneLocked()
		return nil, gone
	}
	b.addr, b.since = addr, time.Now()
	return b.bus, nil
}

func (b *sharedBus) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.doneLocked() // what closing says adds nothing to why it was closed
}

func (b *sharedBus) doneLocked() (err error) {
	if b.gone != nil {
		err = b.shutLocked()
	}
	<-b.turn
	return err
}

func (b *sharedBus) shutLocked() (err error) {
	if b.bus != nil {
		err = b.bus.Close()
	}
	b.bus = nil
	return err
}

// busyError is the error of a part that waited in vain for another's transfer.
type busyError struct {
	bus  string
	addr uint16
	time time.Duration
}

func (b *sharedBus) busy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &busyError{b.String(), b.addr, time.Since(b.since)}
}

func (e *busyError) Error() string {
	return fmt.Sprintf("%s is busy: 0x%02x has not returned for %v", e.bus, e.addr, e.time.Truncate(time.Second))
}
