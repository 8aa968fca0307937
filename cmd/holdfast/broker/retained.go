package broker

import (
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnPublish notes what a client publishes. A message that exceeds the limit of retained
// messages is delivered and not retained.
func (b *budget) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	b.move(cl, pk)
	pk.FixedHeader.Retain = pk.FixedHeader.Retain && b.retain(pk)
	return pk, nil
}

// OnPublished is called when the message was queued for all subscribers.
func (b *budget) OnPublished(cl *mochi.Client, _ packets.Packet) { b.moved(cl) }

// OnWill is OnPublish for a last will.
func (b *budget) OnWill(cl *mochi.Client, will mochi.Will) (mochi.Will, error) {
	pk := packets.Packet{TopicName: will.TopicName, Payload: will.Payload,
		Properties: packets.Properties{User: will.User}}
	b.move(cl, pk)
	will.Retain = will.Retain && b.retain(pk)
	return will, nil
}

// OnWillSent is OnPublished for a last will.
func (b *budget) OnWillSent(cl *mochi.Client, _ packets.Packet) { b.moved(cl) }

// move notes what a client is publishing until moved is called, because OnACLCheck is not
// given the size.
func (b *budget) move(cl *mochi.Client, pk packets.Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moving[cl] = message{pk.TopicName, sizeOf(pk)}
}

// moved ends what move has started.
func (b *budget) moved(cl *mochi.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.moving, cl)
}

// retain reports whether a message may be retained, and counts it.
func (b *budget) retain(pk packets.Packet) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.retained[pk.TopicName]
	if len(pk.Payload) == 0 { // an empty payload clears the topic
		b.kept -= before
		delete(b.retained, pk.TopicName)
		return true
	}
	after := b.kept - before + sizeOf(pk)
	if after > b.limits.retained || !known && len(b.retained) >= b.topics {
		b.log.Warn("embedded broker: a message is not retained: too many are",
			"topics", len(b.retained), "bytes", b.kept)
		return false
	}
	b.retained[pk.TopicName], b.kept = sizeOf(pk), after
	return true
}

// OnRetainedExpired is called when the library has dropped a retained message.
func (b *budget) OnRetainedExpired(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept -= b.retained[topic]
	delete(b.retained, topic)
}
