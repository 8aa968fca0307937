package outputs

import "sync"

// maxOrders is how many orders can wait for an output; one usually takes a millisecond.
// Orders by MQTT fill at most half of the room: if a line is slow, they must not cause an
// alarm to be refused.
const (
	maxOrders = 64
	maxRemote = maxOrders / 2
)

// An inbox holds the orders that wait for one output. It is safe for concurrent use, and
// its methods do not block.
type inbox struct {
	wake chan struct{} // capacity 1: has a token when there may be something to do

	mu     sync.Mutex // guards what follows
	orders []Order    // oldest first
	closed string     // why it takes no more orders; empty: it takes them
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put adds an order, or returns why it is refused. An order to the safe level is never
// refused for lack of room: it replaces the waiting orders, which it would end anyway, and
// they are refused.
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
	for _, d := range dropped { // without the lock: an Answer may put a new order
		d.answer("busy: ended by a later order")
	}
	i.notify()
	return refused
}

// take removes and returns the waiting orders.
func (i *inbox) take() []Order {
	i.mu.Lock()
	defer i.mu.Unlock()
	orders := i.orders
	i.orders = nil
	return orders
}

// putBack returns orders that were taken, in front of those that have come since.
func (i *inbox) putBack(orders []Order) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.orders = append(orders, i.orders...)
}

// close makes the inbox refuse new orders, and returns those that wait.
func (i *inbox) close(why string) []Order {
	i.mu.Lock()
	i.closed = why
	i.mu.Unlock()
	return i.take()
}

// notify wakes the output, which then looks for what is due.
func (i *inbox) notify() {
	select {
	case i.wake <- struct{}{}:
	default: // the output will wake anyway
	}
}

// answer passes the result to the order's Answer; refused is empty if the order was done.
func (o Order) answer(refused string) {
	if o.Answer != nil {
		o.Answer(Answer{Done: refused == "", Why: refused})
	}
}
