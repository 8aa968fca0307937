package i2c

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"periph.io/x/conn/v3/i2c"
)

// transfer waits for its turn and makes one transfer, unless ctx ends first. If the error means
// that the adapter is gone, it closes the bus, and all other users get this error at their next
// transfer.
func (b *sharedBus) transfer(ctx context.Context, addr uint16, w, r []byte) error {
	bus, err := b.begin(ctx, addr)
	if err != nil {
		return err
	}
	defer b.end()
	err = bus.Tx(addr, w, r)
	if AdapterGone(err) {
		b.mu.Lock()
		b.markGoneLocked(err)
		b.mu.Unlock()
	}
	b.observe(ctx, err, r)
	if errors.Is(err, syscall.EBUSY) {
		return errors.New("the bus stays busy (is a part holding it low?)") // not what EBUSY of an address means
	}
	return err
}

// begin waits until no other transfer is running, and returns the bus, which may be used until
// [sharedBus.end].
func (b *sharedBus) begin(ctx context.Context, addr uint16) (i2c.BusCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case b.token <- struct{}{}:
	case <-ctx.Done():
		// The deadline passed because of the running transfer: name its part.
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, b.busy()
		}
		return nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone != nil {
		gone := b.gone
		_ = b.endLocked()
		return nil, gone
	}
	b.addr, b.since = addr, time.Now()
	return b.bus, nil
}

// end ends a transfer, and closes the bus if it was marked as gone.
func (b *sharedBus) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.endLocked() // the reason for closing is in b.gone
}

// endLocked releases the token, which the caller holds.
func (b *sharedBus) endLocked() (err error) {
	if b.gone != nil {
		err = b.closeFileLocked()
	}
	<-b.token
	return err
}

// closeFileLocked closes the device file once. The caller has the token: no transfer
// uses the file.
func (b *sharedBus) closeFileLocked() (err error) {
	if b.bus != nil {
		err = b.bus.Close()
	}
	b.bus = nil
	return err
}

// busyError is the error of a part whose time ended while it waited for another part's transfer.
type busyError struct {
	bus  string
	addr uint16        // of the other part
	time time.Duration // since its transfer began
}

func (b *sharedBus) busy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &busyError{b.String(), b.addr, time.Since(b.since)}
}

func (e *busyError) Error() string {
	return fmt.Sprintf("%s is busy: 0x%02x has not returned for %v", e.bus, e.addr, e.time.Truncate(time.Second))
}
