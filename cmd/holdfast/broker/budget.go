package broker

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// errSlow is why a client is disconnected that has too much waiting.
var errSlow = errors.New("the client does not take what it has subscribed to")

// A budget bounds what the library keeps for its clients: messages on the way to
// them, those they have not acknowledged, sessions, subscriptions and retained
// messages. The library tells hooks of all that comes and goes.
//
// It has more methods than other types because each event of the library is a method
// of mochi.Hook, and all of them change the same counters.
type budget struct {
	mochi.HookBase
	limits
	server *mochi.Server
	log    *slog.Logger

	mu       sync.Mutex                // guards what follows; the library is never called under it
	moving   map[*mochi.Client]message // what each publishes at the moment
	shares   map[*mochi.Client]*share  // of those for which something is kept
	sum      int                       // bytes of all shares; at most limits.total
	retained map[string]int            // bytes of each retained message, by topic
	kept     int                       // bytes of all retained messages
}

// A message is one that is being published.
type message struct {
	topic string
	size  int // bytes, as sizeOf counts them
}

// A share is what is kept for one client.
type share struct {
	queued  int            // bytes to be sent
	unacked map[uint16]int // bytes by packet identifier
	bytes   int            // of both
}

// newBudget counts from nothing: the server has no clients yet.
func newBudget(server *mochi.Server, lim limits, log *slog.Logger) *budget {
	return &budget{limits: lim, server: server, log: log, moving: map[*mochi.Client]message{},
		shares: map[*mochi.Client]*share{}, retained: map[string]int{}}
}

// ID names the hook in the library's log.
func (b *budget) ID() string { return "budget" }

// Provides says which calls the hook wants.
func (b *budget) Provides(hook byte) bool {
	return bytes.Contains([]byte{
		mochi.OnACLCheck, mochi.OnSessionEstablish, mochi.OnSessionEstablished, mochi.OnDisconnect,
		mochi.OnClientExpired,
		mochi.OnPublish, mochi.OnPublished, mochi.OnWill, mochi.OnWillSent,
		mochi.OnRetainedExpired, mochi.OnRetainPublished,
		mochi.OnPacketSent, mochi.OnPublishDropped, mochi.OnQosPublish, mochi.OnQosComplete, mochi.OnQosDropped,
	}, []byte{hook})
}

// sizeOf is what a message takes in memory, about.
func sizeOf(pk packets.Packet) int {
	n := 256 + len(pk.TopicName) + len(pk.Payload) + len(pk.Properties.CorrelationData) +
		len(pk.Properties.ContentType) + len(pk.Properties.ResponseTopic)
	for _, u := range pk.Properties.User {
		n += 64 + len(u.Key) + len(u.Val)
	}
	return n
}

// OnACLCheck is asked before each publish and subscription of a client, and
// before each message that goes to one.
func (b *budget) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if len(topic) > maxTopic || strings.Count(topic, "/") >= maxLevels {
		return false
	}
	if write {
		return true
	}
	// The library asks with the same call for a subscription and for a delivery; only
	// while a message is published to this topic it is a delivery.
	size := b.movingSize(topic)
	if size == 0 { // a subscription
		return cl.State.Subscriptions.Len() <= b.filters
	}
	return b.queue(cl, size)
}

// movingSize is the size of the message that is published to a topic now.
func (b *budget) movingSize(topic string) (size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.moving {
		if m.topic == topic {
			size = max(size, m.size)
		}
	}
	return size
}

// queue counts a message that goes to a client. It ends the client if that has
// too much waiting, and if all together have, those with the most.
func (b *budget) queue(cl *mochi.Client, size int) bool {
	for {
		slow := b.tryQueue(cl, size)
		if slow == nil {
			return true
		}
		b.end(slow)
		if slow == cl {
			return false
		}
	}
}

// tryQueue returns the client that is in the way.
func (b *budget) tryQueue(cl *mochi.Client, size int) *mochi.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shareLocked(cl)
	if s.bytes+size > b.waiting {
		return cl
	}
	if b.sum+size > b.total {
		return b.largestLocked()
	}
	if !cl.Closed() { // else only what is kept for its session counts, when it is
		s.queued += size
		b.addLocked(s, size)
	}
	return nil
}

// shareLocked is the share of a client, a new one if it has none.
func (b *budget) shareLocked(cl *mochi.Client) *share {
	s := b.shares[cl]
	if s == nil {
		s = &share{unacked: map[uint16]int{}}
		b.shares[cl] = s
	}
	return s
}

// addLocked adds bytes, or takes some away, in a share and in the sum of all.
func (b *budget) addLocked(s *share, size int) {
	s.bytes += size
	b.sum += size
}

// largestLocked is the client for which the most is kept, nil if there is none.
func (b *budget) largestLocked() (cl *mochi.Client) {
	largest := -1
	for c, s := range b.shares {
		if s.bytes > largest {
			cl, largest = c, s.bytes
		}
	}
	return cl
}

// end disconnects a client that is too slow; one that is not connected loses
// what was kept for it.
func (b *budget) end(cl *mochi.Client) {
	if !cl.Closed() {
		b.log.Warn("embedded broker: client disconnected", "err", errSlow)
		cl.Stop(errSlow)
	}
	cl.ClearInflights()
	b.drop(cl)
}

// drop forgets what is on the way to a client that has gone.
func (b *budget) drop(cl *mochi.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shares[cl]; s != nil {
		b.sum -= s.bytes
		delete(b.shares, cl)
	}
}

// sent takes a message off the queue of a client.
func (b *budget) sent(cl *mochi.Client, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shares[cl]; s != nil {
		size = min(size, s.queued) // a message that is sent again was not queued
		s.queued -= size
		b.addLocked(s, -size)
	}
}

// OnPacketSent is called after a packet was written to a client's socket.
func (b *budget) OnPacketSent(cl *mochi.Client, pk packets.Packet, _ []byte) {
	if pk.FixedHeader.Type == packets.Publish {
		b.sent(cl, sizeOf(pk))
	}
}

// OnPublishDropped is called when the library had no room for a message of a client.
func (b *budget) OnPublishDropped(cl *mochi.Client, pk packets.Packet) { b.sent(cl, sizeOf(pk)) }

// OnRetainPublished is told after a retained message was queued for a client
// that has subscribed.
func (b *budget) OnRetainPublished(cl *mochi.Client, pk packets.Packet) { b.queue(cl, sizeOf(pk)) }

// OnQosPublish is called when a message of QoS 1 or 2 goes to a client: it is kept
// until it is acknowledged. A message that is sent again replaces its first copy.
func (b *budget) OnQosPublish(cl *mochi.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type != packets.Publish {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shareLocked(cl)
	b.addLocked(s, sizeOf(pk)-s.unacked[pk.PacketID])
	s.unacked[pk.PacketID] = sizeOf(pk)
}

// OnQosComplete is called when a client has acknowledged a message, OnQosDropped
// when the library has given it up.
func (b *budget) OnQosComplete(cl *mochi.Client, pk packets.Packet) { b.acked(cl, pk.PacketID) }
func (b *budget) OnQosDropped(cl *mochi.Client, pk packets.Packet)  { b.acked(cl, pk.PacketID) }

// acked takes a message off what a client has to acknowledge.
func (b *budget) acked(cl *mochi.Client, id uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shares[cl]; s != nil {
		b.addLocked(s, -s.unacked[id])
		delete(s.unacked, id)
	}
}
