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

// errSlow is the reason for disconnecting a client with too much data waiting.
var errSlow = errors.New("the client does not take what it has subscribed to")

// A budget limits what the library stores for its clients: queued messages, messages that
// they have not acknowledged, sessions, subscriptions and retained messages. It counts them
// in the hooks that the library calls.
//
// It has more methods than other types because each event of the library is a method of
// mochi.Hook, and all of them change the same counters.
type budget struct {
	mochi.HookBase
	limits
	server *mochi.Server
	log    *slog.Logger

	mu       sync.Mutex                // guards the fields below; not held while the library is called
	moving   map[*mochi.Client]message // the message that each client is publishing now
	shares   map[*mochi.Client]*share  // of clients for which something is stored
	sum      int                       // bytes of all shares; at most limits.total
	retained map[string]int            // bytes of each retained message, by topic
	kept     int                       // bytes of all retained messages
}

// A message is one that is being published.
type message struct {
	topic string
	size  int // bytes, as sizeOf counts them
}

// A share is what is stored for one client.
type share struct {
	queued  int            // bytes to be sent
	unacked map[uint16]int // bytes by packet identifier
	bytes   int            // of both
}

// newBudget starts with zero: the server has no clients yet.
func newBudget(server *mochi.Server, lim limits, log *slog.Logger) *budget {
	return &budget{limits: lim, server: server, log: log, moving: map[*mochi.Client]message{},
		shares: map[*mochi.Client]*share{}, retained: map[string]int{}}
}

// ID is the name of the hook in the library's log.
func (b *budget) ID() string { return "budget" }

// Provides reports which events the hook handles.
func (b *budget) Provides(hook byte) bool {
	return bytes.Contains([]byte{
		mochi.OnACLCheck, mochi.OnSessionEstablish, mochi.OnSessionEstablished, mochi.OnDisconnect,
		mochi.OnClientExpired,
		mochi.OnPublish, mochi.OnPublished, mochi.OnWill, mochi.OnWillSent,
		mochi.OnRetainedExpired, mochi.OnRetainPublished,
		mochi.OnPacketSent, mochi.OnPublishDropped, mochi.OnQosPublish, mochi.OnQosComplete, mochi.OnQosDropped,
	}, []byte{hook})
}

// sizeOf is the approximate memory of a message.
func sizeOf(pk packets.Packet) int {
	n := 256 + len(pk.TopicName) + len(pk.Payload) + len(pk.Properties.CorrelationData) +
		len(pk.Properties.ContentType) + len(pk.Properties.ResponseTopic)
	for _, u := range pk.Properties.User {
		n += 64 + len(u.Key) + len(u.Val)
	}
	return n
}

// OnACLCheck is called before each publish and subscription of a client, and before each
// message that is sent to one.
func (b *budget) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if len(topic) > maxTopic || strings.Count(topic, "/") >= maxLevels {
		return false
	}
	if write {
		return true
	}
	// The library makes the same call for a subscription and for a delivery; it is a delivery
	// only while a message is being published to this topic.
	size := b.movingSize(topic)
	if size == 0 { // a subscription
		return cl.State.Subscriptions.Len() <= b.filters
	}
	return b.queue(cl, size)
}

// movingSize is the size of the message that is being published to a topic.
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

// queue counts a message for a client. It disconnects the client if too much is waiting for
// it, and the clients with the most data if all of them together have too much.
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

// tryQueue returns the client that has to be disconnected first.
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
	if !cl.Closed() { // otherwise only what is stored for its session counts, later
		s.queued += size
		b.addLocked(s, size)
	}
	return nil
}

// shareLocked returns the share of a client, and creates it if needed.
func (b *budget) shareLocked(cl *mochi.Client) *share {
	s := b.shares[cl]
	if s == nil {
		s = &share{unacked: map[uint16]int{}}
		b.shares[cl] = s
	}
	return s
}

// addLocked adds a number of bytes, which may be negative, to a share and to the sum.
func (b *budget) addLocked(s *share, size int) {
	s.bytes += size
	b.sum += size
}

// largestLocked returns the client with the largest share, nil if there is none.
func (b *budget) largestLocked() (cl *mochi.Client) {
	largest := -1
	for c, s := range b.shares {
		if s.bytes > largest {
			cl, largest = c, s.bytes
		}
	}
	return cl
}

// end disconnects a client that is too slow; one that is not connected loses its stored
// messages.
func (b *budget) end(cl *mochi.Client) {
	if !cl.Closed() {
		b.log.Warn("embedded broker: client disconnected", "err", errSlow)
		cl.Stop(errSlow)
	}
	cl.ClearInflights()
	b.drop(cl)
}

// drop stops counting what was queued for a client that has disconnected.
func (b *budget) drop(cl *mochi.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shares[cl]; s != nil {
		b.sum -= s.bytes
		delete(b.shares, cl)
	}
}

// sent removes a message from the queue count of a client.
func (b *budget) sent(cl *mochi.Client, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shares[cl]; s != nil {
		size = min(size, s.queued) // a message that is sent again was not counted
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

// OnRetainPublished is called after a retained message was queued for a client that has
// subscribed.
func (b *budget) OnRetainPublished(cl *mochi.Client, pk packets.Packet) { b.queue(cl, sizeOf(pk)) }

// OnQosPublish is called when a message of QoS 1 or 2 is sent to a client: it is stored
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

// OnQosComplete is called when a client has acknowledged a message, OnQosDropped when the
// library has discarded it.
func (b *budget) OnQosComplete(cl *mochi.Client, pk packets.Packet) { b.acked(cl, pk.PacketID) }
func (b *budget) OnQosDropped(cl *mochi.Client, pk packets.Packet)  { b.acked(cl, pk.PacketID) }

// acked removes a message from those that a client has to acknowledge.
func (b *budget) acked(cl *mochi.Client, id uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shares[cl]; s != nil {
		b.addLocked(s, -s.unacked[id])
		delete(s.unacked, id)
	}
}
