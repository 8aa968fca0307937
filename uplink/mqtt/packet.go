package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Types of packets. MQTT 3.1.1, section 2.2.1.
const (
	packetConnack     = 2
	packetPublish     = 3
	packetPuback      = 4
	packetSubscribe   = 8
	packetSuback      = 9
	packetUnsubscribe = 10
	packetUnsuback    = 11
	packetPingresp    = 13
)

var packetNames = [16]string{"type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "type 15"}

// lengths are those of the packets that we may get, but for PUBLISH. We
// subscribe to one topic at a time.
var lengths = map[byte]int{packetConnack: 2, packetPuback: 2, packetSuback: 3, packetUnsuback: 2, packetPingresp: 0}

// errNoMQTT is an answer to CONNECT by something else.
var errNoMQTT = errors.New("the answer to CONNECT is no MQTT")

// header looks at the packet that comes next, and takes it out of the stream if it
// acknowledges a publication. MQTT 3.1.1, section 2.2: a byte of type and flags,
// then the length in seven bits a byte, four at most.
func (w *wire) header() error {
	if w.in.Buffered() < 4 { // no whole PUBACK: what was acknowledged waits no longer
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
			if err == nil && kind == packetPuback {
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

// check refuses what the library must not see: it would allocate what it is
// told, keep what comes at QoS 2 until it is released, and take any answer for
// the acknowledgement of the publication with that number. size is that of the
// header.
func (w *wire) check(head byte, size, length int) error {
	kind := head >> 4
	want, fixed := lengths[kind]
	switch {
	case !w.open.Load() && kind != packetConnack:
		return w.notMQTT()
	case length > MaxInbound:
		what := fmt.Sprintf("a packet of %d bytes: %d are taken at most", length, MaxInbound)
		return &ProtocolError{What: what, Topic: w.topicAhead(kind, size), Bytes: length}
	case kind == packetPublish:
		return w.checkPublish(head>>1&3, size, length)
	case !fixed:
		return ProtocolErrorf("a packet that is not for us: %s", packetNames[kind])
	case length != want:
		return ProtocolErrorf("a %s of %d bytes", packetNames[kind], length)
	case kind == packetConnack:
		return w.checkConnack(size)
	case kind != packetPingresp:
		return w.checkAnswer(kind, size)
	}
	return nil
}

// takePuback takes a PUBACK, which was checked, out of the stream: the library has
// no publication that waits for one. size is that of its header.
func (w *wire) takePuback(size int) error {
	packet, err := w.in.Peek(w.left)
	if err != nil {
		return err
	}
	if p := w.answered(binary.BigEndian.Uint16(packet[size:])); p != nil {
		w.acked = append(w.acked, p)
	}
	w.in.Discard(w.left)
	w.left = 0
	return nil
}

// checkConnack takes the code of the first CONNACK.
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

// topicAhead is the topic of a PUBLISH, if that was read with its header.
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

// checkPublish holds the topic and the number within the packet.
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

// checkAnswer checks that an answer is of the type that the packet with its
// number wants: SUBACK for SUBSCRIBE, UNSUBACK for UNSUBSCRIBE, else PUBACK.
func (w *wire) checkAnswer(kind byte, size int) error {
	packet, err := w.in.Peek(size + 2)
	if err != nil {
		return err
	}
	id := binary.BigEndian.Uint16(packet[size:])
	if !w.answers(kind, id) {
		return ProtocolErrorf("a %s that answers nothing of ours", packetNames[kind])
	}
	return nil
}

// answers reports whether an answer is of the type that the packet with its number
// wants, which is answered then.
func (w *outbox) answers(kind byte, id uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	want, asked := w.asked[id]
	if !asked {
		want = packetPuback
	}
	if kind == want {
		delete(w.asked, id)
	}
	return kind == want
}

// expectedAnswer is the packet number of a SUBSCRIBE or UNSUBSCRIBE and the type
// of its answer; 0 for any other packet.
func expectedAnswer(packet []byte) (id uint16, answer byte) {
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
	body := packet[1:]
	for len(body) > 2 && body[0] >= 0x80 {
		body = body[1:]
	}
	return binary.BigEndian.Uint16(body[1:]), answer
}
