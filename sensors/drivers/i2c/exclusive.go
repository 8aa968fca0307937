package i2c

import "context"

// A partLock is held by one of the sensors that read one part, such as the inputs of a
// converter, through several transfers. It is a channel for one value and not a mutex,
// so that a wait for it ends with its context.
type partLock chan struct{}

// lockOf is the lock of an address; all who have the bus open share it.
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

// MeasureExclusive is [Part.Measure] while no other sensor of the part measures so.
func (p *Part) MeasureExclusive(ctx context.Context, do func() error) error {
	return p.exclusive(ctx, func() error { return p.Measure(ctx, do) })
}

// Update changes a register that other sensors of this part change, too: each
// its own bits, and none comes between reading and writing. It writes only a value
// that differs. It must not be called within [Part.MeasureExclusive], which has the
// lock already.
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
