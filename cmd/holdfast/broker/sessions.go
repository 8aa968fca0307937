package broker

import (
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnSessionEstablish makes room for one more session: it deletes that of the client that
// disconnected first.
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
			return // all are connected, and the number of connections is limited
		}
		b.forget(first)
		b.server.Clients.Delete(first.ID)
	}
}

// OnSessionEstablished counts the messages that a session inherits.
func (b *budget) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	for _, pk := range cl.State.Inflight.GetAll(false) {
		b.OnQosPublish(cl, pk, 0, 0)
	}
}

// OnDisconnect stops counting what was queued for a client; messages that it has not
// acknowledged are stored for its session.
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

// OnClientExpired is called when the library deletes a session. The library leaves the
// session's subscriptions in the tree.
func (b *budget) OnClientExpired(cl *mochi.Client) { b.forget(cl) }

// forget removes everything that is stored for a client.
func (b *budget) forget(cl *mochi.Client) {
	cl.ClearInflights()
	b.server.UnsubscribeClient(cl)
	b.drop(cl)
}

// sweep removes the shares of clients that the library deleted while a message was queued
// for them.
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
