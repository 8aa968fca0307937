package outputs

import "sync"

// maxOrders is how many orders wait for an output: one is done in a millisecond. Those that
// came by MQTT leave room for the others: a line may be slow, and an alarm must not be refused
// because of them.
const (
	maxOrders = 64
	maxRemote = maxOrders / 2
)

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
	case len(i.orders) < maxRemote, len(i.orders) < maxOrders && !o.Remote:
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

// putBack has orders wait that were taken, before those that have come since.
func (i *inbox) putBack(orders []Order) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.orders = append(orders, i.orders...)
}

// close refuses what comes, and returns what waits.
func (i *inbox) close(why string) []Order {
	i.mu.Lock()
	i.closed = why
	i.mu.Unlock()
	return i.take()
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
