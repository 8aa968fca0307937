package drivers

import "context"

// A turn is one part's, which several sensors may read: the inputs of a
// converter. It holds one token.
type turn chan struct{}

// turnOf is the turn of an address; all who have the bus open share it.
func (b *sharedBus) turnOf(addr uint16) turn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turns == nil {
		b.turns = map[uint16]turn{}
	}
	if b.turns[addr] == nil {
		b.turns[addr] = make(turn, 1)
	}
	return b.turns[addr]
}

// inTurn does something while no other sensor of the part does.
func (p *part) inTurn(ctx context.Context, do func() error) error {
	t := p.bus.turnOf(p.addr)
	select {
	case t <- struct{}{}:
		defer func() { <-t }()
	case <-ctx.Done():
		return p.explain(ctx.Err())
	}
	return do()
}

// measureInTurn measures while no other sensor of the part does so.
func (p *part) measureInTurn(ctx context.Context, do func() error) error {
	return p.inTurn(ctx, func() error { return p.measure(ctx, do) })
}

// update changes a register that other sensors of this part change, too: each
// its own bits, and none comes between reading and writing. It writes only what
// is another than it was. It is for a measurement that is not in turn already.
func (p *part) update(reg byte, change func(byte) byte) error {
	return p.inTurn(p.ctx, func() error {
		was := []byte{0}
		if err := p.register(reg, was); err != nil {
			return err
		}
		if now := change(was[0]); now != was[0] {
			return p.command(reg, now)
		}
		return nil
	})
}
