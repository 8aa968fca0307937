package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Types of packets, the high half of the first byte: MQTT 3.1.1, section 2.2.1.
const (
	packetConnect     = 1
	packetConnack     = 2
	packetPublish     = 3
	packetPuback      = 4
	packetSubscribe   = 8
	packetSuback      = 9
	packetUnsubscribe = 10
	packetUnsuback    = 11
	packetPingreq     = 12
	packetPingresp    = 13
	packetDisconnect  = 14
)

// packetNames are the names for errors, by type.
var packetNames = [16]string{"type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "type 15"}

// lengths are the remaining lengths of the packets that a broker may send to us, but
// for PUBLISH; any other length is an error. SUBACK has one return code, because
// each SUBSCRIBE has one topic.
var lengths = map[byte]int{packetConnack: 2, packetPuback: 2, packetSuback: 3, packetUnsuback: 2, packetPingresp: 0}

// errNoMQTT means that the answer to CONNECT is not a CONNACK: the server is not an MQTT
// broker.
var errNoMQTT = errors.New("the answer to CONNECT is no MQTT")

// header checks the next packet and sets left to its size. A PUBACK is taken out of
// the stream, and left is 0 then. The fixed header is a byte of type and flags, and
// the remaining length in seven bits a byte, in four bytes at most: MQTT 3.1.1,
// section 2.2.
func (w *wire) header() error {
	w.takePubacks()
	if w.in.Buffered() < 4 { // less than a PUBACK: the next Peek may wait for the broker
		w.completeAcked()
	}
	length := 0
	for n := 2; n <= 5; n++ {
		head, err := w.in.Peek(n)
		if err != nil {
			return err
		}
		last := head[n-1]
		length |= int(last&0x7f) << (7 * (n - 2))
		if last < 0x80 {
			w.left = n + length
			kind := head[0] >> 4
			err := w.check(head[0], n, length)
			if err == nil && kind == packetPuback && (w.five == nil || length <= maxShortPuback) {
				return w.takePuback(n)
			}
			w.completeAcked()
			return err
		}
	}
	if !w.open.Load() {
		return w.notMQTT()
	}
	return ProtocolErrorf("a packet whose length has no end")
}

// check returns a [ProtocolError] for a packet that the library must not read. It
// would allocate any remaining length, keep messages at QoS 2 until they are
// released, and take an answer of any type for the acknowledgement of the packet
// with that ID. size is the size of the fixed header, length the remaining length.
func (w *wire) check(head byte, size, length int) error {
	kind := head >> 4
	want, fixed := lengths[kind]
	switch {
	case !w.open.Load() && kind != packetConnack:
		return w.notMQTT()
	case length > MaxInbound:
		what := fmt.Sprintf("a packet of %d bytes: %d are taken at most", length, MaxInbound)
		return &ProtocolError{What: what, Topic: w.topicAhead(kind, size), Bytes: length}
	case w.five != nil:
		return w.check5(head, size, length)
	case kind == packetPublish:
		return w.checkPublish(head>>1&3, size, length)
	case !fixed:
		return ProtocolErrorf("a packet that is not for us: %s", packetNames[kind])
	case length != want:
		return ProtocolErrorf("a %s of %d bytes", packetNames[kind], length)
	case kind == packetConnack:
		return w.checkConnack(size)
	case kind == packetPingresp:
		w.pinged.Store(false)
		return nil
	}
	return w.checkAnswer(kind, size)
}

// takePubacks takes PUBACKs out of the stream as far as they are in the buffer: those of
// a drain come many at a time. Each that is not as usual is left to header and check.
func (w *wire) takePubacks() {
	size := w.in.Buffered()
	switch {
	case size < 4 || !w.open.Load():
		return
	case w.five != nil:
		w.takePubacks5()
		return
	}
	buffered, _ := w.in.Peek(size) // does not read
	w.mu.Lock()
	taken := 0
	for ; len(buffered)-taken >= 4; taken += 4 {
		packet := buffered[taken:]
		id := binary.BigEndian.Uint16(packet[2:])
		if packet[0] != packetPuback<<4 || packet[1] != 2 || w.expected[id] != 0 {
			break
		}
		if p := w.flight.waiting[id]; p != nil {
			delete(w.flight.waiting, id)
			w.acked = append(w.acked, p)
		}
	}
	w.mu.Unlock()
	w.in.Discard(taken)
}

// takePuback takes a PUBACK, which was checked, out of the stream: only the wire has
// publications that wait for one. One for an unknown packet ID is ignored. size is
// the size of the fixed header.
func (w *wire) takePuback(size int) error {
	packet, err := w.in.Peek(w.left)
	if err != nil {
		return err
	}
	if w.five != nil {
		w.accept5(packet)
	} else if p := w.answered(binary.BigEndian.Uint16(packet[size:])); p != nil {
		w.acked = append(w.acked, p)
	}
	w.in.Discard(w.left)
	w.left = 0
	return nil
}

// checkConnack notes the return code of the first CONNACK (MQTT 3.1.1, section
// 3.2.2.3); a second one is an error.
func (w *wire) checkConnack(size int) error {
	if w.open.Load() {
		return ProtocolErrorf("a second CONNACK")
	}
	packet, err := w.in.Peek(size + 2)
	if err != nil {
		return err
	}
	w.open.Store(true)
	w.code.Store(uint32(packet[size+1]))
	return nil
}

// topicAhead returns the topic of a PUBLISH that is too large to be read, if the
// buffer already has all of it; else "".
func (w *wire) topicAhead(kind byte, size int) string {
	packet, _ := w.in.Peek(w.in.Buffered())
	if kind != packetPublish || len(packet) < size+2 {
		return ""
	}
	start := size + 2
	end := start + int(binary.BigEndian.Uint16(packet[size:]))
	if end > len(packet) {
		return ""
	}
	return string(packet[start:end])
}

// checkPublish checks that the topic and the packet ID fit into the remaining
// length, and that the QoS is one that we have subscribed at. MQTT 3.1.1, sections
// 3.3.2 and 3.8.4.
func (w *wire) checkPublish(qos byte, size, length int) error {
	if qos > 1 {
		return ProtocolErrorf("a message at QoS %d, and we subscribe at 1", qos)
	}
	fixed := 2 + 2*int(qos)
	if length < fixed {
		return ProtocolErrorf("a PUBLISH of %d bytes", length)
	}
	packet, err := w.in.Peek(size + 2)
	if err != nil {
		return err
	}
	if topic := int(binary.BigEndian.Uint16(packet[size:])); topic > length-fixed {
		return ProtocolErrorf("a topic of %d bytes in a PUBLISH of %d", topic, length)
	}
	return nil
}

// checkAnswer checks that an answer is of the type that the packet with its packet
// ID expects: SUBACK for SUBSCRIBE, UNSUBACK for UNSUBSCRIBE, else PUBACK.
func (w *wire) checkAnswer(kind byte, size int) error {
	packet, err := w.in.Peek(size + 2)
	if err != nil {
		return err
	}
	id := binary.BigEndian.Uint16(packet[size:])
	if !w.answers(kind, id) {
		return ProtocolErrorf("a %s that answers nothing of ours", packetNames[kind])
	}
	if kind != packetPuback && w.five == nil {
		binary.BigEndian.PutUint16(packet[size:], mirrored(id)) // in the reader's buffer
	}
	return nil
}

// answers reports whether an answer is of the type that the packet with its packet
// ID expects. If so, it removes the expectation: a second answer is an error.
func (w *outbox) answers(kind byte, id uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	want, isRequest := w.expected[id]
	if !isRequest {
		want = packetPuback
	}
	if kind == want {
		delete(w.expected, id)
	}
	return kind == want
}

// expectedAnswer returns where the packet ID of a SUBSCRIBE or UNSUBSCRIBE is that the
// library writes, and the type of its answer; 0 and 0 for any other packet.
func expectedAnswer(packet []byte) (at int, answer byte) {
	if len(packet) < 4 {
		return 0, 0
	}
	switch packet[0] >> 4 {
	case packetSubscribe:
		answer = packetSuback
	case packetUnsubscribe:
		answer = packetUnsuback
	default:
		return 0, 0
	}
	for at = 1; at < len(packet)-3 && packet[at] >= 0x80; at++ {
	}
	return at + 1, answer
}

// mirrored is the packet ID on the wire for one of the library's, and the other way
// round. The library counts from 1, and so do brokers for what they send; some (mochi,
// which is our embedded one) refuse a SUBSCRIBE with the ID of a message that they wait
// to be acknowledged. From 65535 down the two meet late.
func mirrored(id uint16) uint16 { return -id }
