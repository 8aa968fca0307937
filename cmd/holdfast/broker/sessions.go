package broker

import (
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnSessionEstablish makes room for one more session: the client that has left
// first loses its own.
func (b *budget) OnSessionEstablish(cl *mochi.Client, _ packets.Packet) {
	b.sweep()
	if _, known := b.server.Clients.Get(cl.ID); known {
		return
	}
	for b.server.Clients.Len() > b.sessions { // one of them is our own inline client
		var first *mochi.Client
		for _, c := range b.server.Clients.GetAll() {
			if c.Closed() && c.StopTime() > 0 && (first == nil || c.StopTime() < first.StopTime()) {
				first = c
			}
		}
		if first == nil {
			return // all are connected, and of these is a maximum
		}
		b.forget(first)
		b.server.Clients.Delete(first.ID)
	}
}

// OnSessionEstablished counts what a session inherits.
func (b *budget) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	for _, pk := range cl.State.Inflight.GetAll(false) {
		b.OnQosPublish(cl, pk, 0, 0)
	}
}

// OnDisconnect forgets what was on the way to a client; what it has not
// acknowledged is kept for its session.
func (b *budget) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	b.mu.Lock()
	delete(b.moving, cl)
	if s := b.shares[cl]; s != nil {
		b.addLocked(s, -s.queued)
		s.queued = 0
	}
	b.mu.Unlock()
	if expire || cl.IsTakenOver() {
		b.forget(cl)
	}
}

// OnClientExpired is told when the library forgets a session. It leaves its
// subscriptions in the tree.
func (b *budget) OnClientExpired(cl *mochi.Client) { b.forget(cl) }

// forget takes away all that is kept for a client.
func (b *budget) forget(cl *mochi.Client) {
	cl.ClearInflights()
	b.server.UnsubscribeClient(cl)
	b.drop(cl)
}

// sweep drops the shares of clients that the library has forgotten while
// something was on the way to them.
func (b *budget) sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for cl, s := range b.shares {
		if now, _ := b.server.Clients.Get(cl.ID); now != cl && cl.Closed() {
			b.sum -= s.bytes
			delete(b.shares, cl)
		}
	}
}
