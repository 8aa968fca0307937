package outputs

import "sync"

// maxOrders is how many orders wait for an output: one is done in a millisecond.
const maxOrders = 64

// An inbox holds the orders that wait for one output. It is safe for concurrent use, and
// nothing waits in it.
type inbox struct {
	wake chan struct{} // has a value when there may be something to do

	mu     sync.Mutex
	orders []Order
	closed string // why it takes no more; empty: it does
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put adds an order, or says why it is refused. An order to the safe level finds room: those
// that wait before it would be ended by it at once, and are refused.
func (i *inbox) put(o Order, safe bool) (refused string) {
	i.mu.Lock()
	var dropped []Order
	switch {
	case i.closed != "":
		refused = i.closed
	case len(i.orders) < maxOrders:
		i.orders = append(i.orders, o)
	case o.On == safe:
		dropped, i.orders = i.orders, []Order{o}
	default:
		refused = "busy: too many orders wait"
	}
	i.mu.Unlock()
	for _, d := range dropped { // not under the lock: who is told may ask again
		d.answer("busy: ended by a later order")
	}
	i.poke()
	return refused
}

// take returns what waits.
func (i *inbox) take() []Order {
	i.mu.Lock()
	defer i.mu.Unlock()
	orders := i.orders
	i.orders = nil
	return orders
}

// close refuses what waits and what comes.
func (i *inbox) close(why string) {
	i.mu.Lock()
	i.closed = why
	i.mu.Unlock()
	for _, o := range i.take() {
		o.answer(why)
	}
}

// poke has the output look what is due.
func (i *inbox) poke() {
	select {
	case i.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// answer tells who waits what became of an order; refused is empty if it was done.
func (o Order) answer(refused string) {
	if o.Answer != nil {
		o.Answer(Answer{Done: refused == "", Why: refused})
	}
}
