package i2c

import "context"

// A partLock is held by one of the sensors of a part, such as the inputs of a converter, during
// several transfers. It is a channel and not a mutex, so that a wait for it ends with a context.
type partLock chan struct{}

// lockOf returns the lock of an address, which all users of the bus share.
func (b *sharedBus) lockOf(addr uint16) partLock {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.partLocks == nil {
		b.partLocks = map[uint16]partLock{}
	}
	if b.partLocks[addr] == nil {
		b.partLocks[addr] = make(partLock, 1)
	}
	return b.partLocks[addr]
}

// exclusive calls do while no other sensor of the part is in such a call.
func (p *Part) exclusive(ctx context.Context, do func() error) error {
	lock := p.bus.lockOf(p.addr)
	select {
	case lock <- struct{}{}:
		defer func() { <-lock }()
	case <-ctx.Done():
		return p.Explain(ctx.Err())
	}
	return do()
}

// MeasureExclusive is like [Part.Measure], but only one sensor of the part at a time runs it.
func (p *Part) MeasureExclusive(ctx context.Context, do func() error) error {
	return p.exclusive(ctx, func() error { return p.Measure(ctx, do) })
}

// Update changes a register of which other sensors of the part own other bits: it reads, changes
// and writes it under the lock of the part, and writes only if the value differs. It must not be
// called within [Part.MeasureExclusive], which holds the same lock.
func (p *Part) Update(reg byte, change func(byte) byte) error {
	return p.exclusive(p.ctx, func() error {
		was := []byte{0}
		if err := p.ReadRegister(reg, was); err != nil {
			return err
		}
		if now := change(was[0]); now != was[0] {
			return p.Command(reg, now)
		}
		return nil
	})
}
