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

// measureInTurn measures while no other sensor of the part does so.
func (p *part) measureInTurn(ctx context.Context, do func() error) error {
	t := p.bus.turnOf(p.addr)
	select {
	case t <- struct{}{}:
		defer func() { <-t }()
	case <-ctx.Done():
		return p.explain(ctx.Err())
	}
	return p.measure(ctx, do)
}
