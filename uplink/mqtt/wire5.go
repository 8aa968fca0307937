package mqtt

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/holdfast-iot/holdfast/uplink/mqtt/mqtt5"
)

// A wire5 is what an outbox has for MQTT 5 alone; with 3.1.1 there is none. The mutex of
// the outbox guards all fields.
type wire5 struct {
	requests map[uint16]request5 // SUBSCRIBE and UNSUBSCRIBE without an answer, by packet ID
	lastID   uint16              // of the last of them: they count from 65535 down, see aheadOfLibrary

	topics    map[string]uint16 // the alias of each topic that was published; 0: it has none, and was published once
	aliases   uint16            // of them, the number that have one
	maxAlias  uint16            // Topic Alias Maximum of the broker
	maxPacket int               // bytes of a packet that the broker takes; 0: any
	noRetain  bool              // it takes no retained messages
}

// A request5 is a SUBSCRIBE or UNSUBSCRIBE of one topic.
type request5 struct {
	*publication
	topic string
}

// maxUnacked is how many messages the broker may send at QoS 1 before we acknowledge one:
// Receive Maximum of CONNECT. Each is acknowledged when it was read.
const maxUnacked = 20

// lengths5 are the minimum and maximum bytes after the fixed header of the packets that a
// broker may send, except PUBLISH. [mqtt5.Check] checks their content.
var lengths5 = map[byte][2]int{packetConnack: {2, MaxInbound}, packetPuback: {2, MaxInbound},
	packetSuback: {4, MaxInbound}, packetUnsuback: {4, MaxInbound}, packetPingresp: {0, 0},
	packetDisconnect: {0, MaxInbound}}

// check5 is check for MQTT 5. A packet has up to MaxInbound bytes, which the client reads
// before it checks the rest.
func (w *wire) check5(head byte, size, length int) error {
	kind := head >> 4
	bounds, fixed := lengths5[kind]
	switch {
	case kind == packetPublish:
		return w.checkPublish(head>>1&3, size, length)
	case !fixed:
		return ProtocolErrorf("a packet that is not for us: %s", packetNames[kind])
	case length < bounds[0] || length > bounds[1]:
		return ProtocolErrorf("a %s of %d bytes", packetNames[kind], length)
	}
	switch kind {
	case packetConnack:
		return w.checkConnack5(length)
	case packetPingresp:
		w.pinged.Store(false)
		return nil
	case packetDisconnect:
		return nil
	}
	return w.checkAnswer(kind, size)
}

// checkConnack5 accepts the first CONNACK, if it is one of MQTT 5.
func (w *wire) checkConnack5(length int) error {
	switch {
	case w.open.Load():
		return ProtocolErrorf("a second CONNACK")
	case length == 2:
		return errAnswer311
	}
	return nil
}

// maxShortPuback is the most bytes behind the fixed header of a PUBACK that the wire
// decodes: the packet ID and the code. The client decodes those with properties.
const maxShortPuback = 3

// puback5 decodes a PUBACK of MQTT 5 that has no properties, at
// the begin of b: section 3.4.2. It returns the bytes of the packet; 0: it is
// another packet, or one that the client has to decode.
func puback5(b []byte) (id uint16, code byte, size int) {
	if len(b) < 4 || b[0] != packetPuback<<4 {
		return 0, 0, 0
	}
	size = 2 + int(b[1])
	switch {
	case size < 4 || size > 2+maxShortPuback || len(b) < size:
		return 0, 0, 0
	case size > 4:
		code = b[4]
	}
	return binary.BigEndian.Uint16(b[2:]), code, size
}

// takePubacks5 is takePubacks for MQTT 5.
func (w *wire) takePubacks5() {
	buffered, _ := w.in.Peek(w.in.Buffered()) // does not read
	w.mu.Lock()
	taken := 0
	for {
		id, code, size := puback5(buffered[taken:])
		if size == 0 || w.expected[id] != 0 {
			break
		}
		w.acceptLocked(id, code, "")
		taken += size
	}
	w.mu.Unlock()
	w.in.Discard(taken)
}

// accept5 takes a PUBACK of at most maxShortPuback bytes, which was checked.
func (w *wire) accept5(packet []byte) {
	id, code, _ := puback5(packet)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acceptLocked(id, code, "")
}

// acceptLocked notes what a PUBACK says of a publication. One for an unknown packet ID is
// ignored. The caller holds mu, and is the reading goroutine.
func (w *wire) acceptLocked(id uint16, code byte, reason string) {
	p := w.flight.waiting[id]
	if p == nil {
		return
	}
	delete(w.flight.waiting, id)
	p.unheard = code == codeUnheard
	if code >= codeFailure {
		p.err = &PublishError{Code: code, Reason: reason}
	}
	w.acked = append(w.acked, p)
}

// next returns the next packet that the client has to decode, with its fixed header. The
// wire has taken the PUBACKs before it. An error ends the connection; the wire has
// reported it. Only the reading goroutine calls it.
func (w *wire) next() ([]byte, error) {
	for w.left == 0 {
		if err := w.header(); err != nil {
			w.completeAcked()
			return nil, w.unread(err)
		}
	}
	packet := make([]byte, w.left)
	if _, err := io.ReadFull(w.in, packet); err != nil {
		return nil, w.unread(err)
	}
	w.left = 0
	return packet, nil
}

// request queues a SUBSCRIBE or UNSUBSCRIBE as soon as there is room, and returns its
// token. encode makes it with a packet ID; answer is the type of its answer.
func (w *wire) request(topic string, answer byte, encode func(id uint16) []byte) Token {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.awaitRoomLocked(); err != nil {
		return completed(err)
	}
	if w.flight.over {
		return completed(errNotAnswered)
	}
	id := w.five.lastID - 1
	for id == 0 || w.expected[id] != 0 || w.flight.waiting[id] != nil {
		id--
	}
	p := &publication{box: &w.outbox}
	w.five.lastID, w.flight.library = id, id
	w.expected[id], w.five.requests[id] = answer, request5{p, topic}
	w.out = append(w.out, encode(id)...)
	signal(w.kick)
	return p
}

// answerRequest completes a SUBSCRIBE or UNSUBSCRIBE with a reason code.
func (w *wire) answerRequest(id uint16, code byte, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, waits := w.five.requests[id]
	if !waits {
		return
	}
	delete(w.five.requests, id)
	var err error
	if code >= codeFailure {
		err = &DeniedError{Topic: r.topic, Reason: reason}
	}
	if w.completeLocked(r.publication, err) {
		signal(w.wake)
	}
}

// failRequestsLocked fails the requests without an answer: the connection is lost. The
// caller holds mu of the outbox w.
func (five *wire5) failRequestsLocked(w *outbox) {
	for id, r := range five.requests {
		delete(five.requests, id)
		if w.completeLocked(r.publication, errNotAnswered) {
			signal(w.wake)
		}
	}
}

// acknowledge queues the PUBACK for a message that was received. It does not wait for
// room: the reading goroutine calls it, without which the broker may not go on reading.
// A broker that ignores maxUnacked while the link takes nothing is an error.
func (w *wire) acknowledge(id uint16) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.out) > 2*maxUnsent {
		return ProtocolErrorf("more than %d messages that we have not acknowledged", maxUnacked)
	}
	w.out = binary.BigEndian.AppendUint16(append(w.out, packetPuback<<4, 2), id)
	signal(w.kick)
	return nil
}

// limit has the limits of the broker regarded from now on.
func (w *outbox) limit(f Facts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keepAlive = f.KeepAlive
	w.five.maxPacket, w.five.noRetain, w.five.maxAlias = f.MaxPacket, f.NoRetain, uint16(f.Aliases)
}

// appendLocked appends a PUBLISH to the outbox. The error says that the broker would not
// take it. id is 0 at QoS 0. The caller holds mu.
func (w *wire5) appendLocked(b []byte, m Message, id uint16) ([]byte, error) {
	p := mqtt5.Publication{Topic: m.Topic, Payload: m.Payload, Retain: m.Retain && !w.noRetain, ID: id,
		Properties: m.Properties}
	var isNew bool
	if !m.Foreign { // else anybody who may give orders could use up the memory, and the aliases
		p.Alias, isNew = w.aliasOf(m.Topic)
	}
	if p.Alias != 0 && !isNew {
		p.Topic = ""
	}
	if w.maxPacket > 0 {
		if size := p.Size(); size > w.maxPacket {
			return b, &PublishError{Code: codeTooLarge, Unsent: true,
				Reason: fmt.Sprintf("it has %d bytes, and the broker takes %d", size, w.maxPacket)}
		}
	}
	if !m.Foreign {
		w.note(m.Topic, p.Alias)
	}
	return p.AppendTo(b), nil
}

// aliasOf returns the alias of a topic, and whether the broker does not know it yet; 0: it
// has none. The second message of a topic introduces one: what is published once, such
// as the birth, would take it from a stream. Brokers allow few (Mosquitto: 10).
func (w *wire5) aliasOf(topic string) (alias uint16, isNew bool) {
	if w.maxAlias == 0 {
		return 0, false
	}
	alias, again := w.topics[topic]
	if alias != 0 || !again || w.aliases == w.maxAlias {
		return alias, false
	}
	return w.aliases + 1, true
}

// note records that a message on a topic was written with an alias.
func (w *wire5) note(topic string, alias uint16) {
	if w.aliases == w.maxAlias { // all are given, or none may be
		return
	}
	w.topics[topic] = alias
	w.aliases = max(w.aliases, alias)
}
