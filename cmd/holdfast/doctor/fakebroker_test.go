package doctor

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// A fakeBroker does what Mosquitto cannot be configured to do. It implements the MQTT of
// one session, and echoes what the session publishes.
type fakeBroker struct {
	denies  bool                                   // denies every subscription
	private string                                 // a topic to which it denies subscriptions
	closes  func(topic string, retained bool) bool // closes the connection for such a message
	connack []byte                                 // properties of its answer to MQTT 5; nil: it refuses that

	mu       sync.Mutex
	retained map[string][]byte // by topic; guarded by mu
}

// start returns its address; it listens until the end of the test.
func (b *fakeBroker) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.retained = map[string][]byte{}
	var sessions sync.WaitGroup
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { defer conn.Close(); b.serve(conn) })
		}
	})
	return l.Addr().String()
}

func (b *fakeBroker) serve(conn net.Conn) {
	in, subscribed, v5 := bufio.NewReader(conn), map[string]bool{}, false
	for {
		head, body, ok := readPacket(in)
		if !ok {
			return
		}
		switch head >> 4 {
		case 1: // CONNECT; the level follows the name
			switch v5 = body[6] == 5; {
			case v5 && b.connack == nil:
				conn.Write([]byte{0x20, 2, 0, 1})
				return
			case v5:
				conn.Write(append([]byte{0x20, byte(3 + len(b.connack)), 0, 0, byte(len(b.connack))}, b.connack...))
			default:
				conn.Write([]byte{0x20, 2, 0, 0})
			}
		case 3: // PUBLISH
			topic, rest := cutText(body)
			if b.closes != nil && b.closes(topic, head&1 != 0) {
				return
			}
			if v5 {
				conn.Write([]byte{0x40, 2, rest[0], rest[1]}) // nothing is read with 5
				continue
			}
			b.publish(conn, head, topic, rest, subscribed)
		case 8: // SUBSCRIBE
			topic, _ := cutText(body[2:])
			b.subscribe(conn, body[:2], topic, subscribed)
		case 10: // UNSUBSCRIBE
			conn.Write([]byte{0xb0, 2, body[0], body[1]})
		case 12: // PINGREQ
			conn.Write([]byte{0xd0, 0})
		case 14: // DISCONNECT
			return
		}
	}
}

func (b *fakeBroker) publish(conn net.Conn, head byte, topic string, rest []byte, subscribed map[string]bool) {
	payload := rest
	if head&6 != 0 { // QoS 1
		payload = rest[2:]
		conn.Write([]byte{0x40, 2, rest[0], rest[1]})
	}
	if head&1 != 0 {
		b.mu.Lock()
		b.retained[topic] = payload
		b.mu.Unlock()
	}
	if subscribed[topic] {
		conn.Write(publishPacket(0x30, topic, payload))
	}
}

func (b *fakeBroker) subscribe(conn net.Conn, id []byte, topic string, subscribed map[string]bool) {
	code, denied := byte(1), b.denies || topic == b.private
	if denied {
		code = 0x80
	}
	conn.Write([]byte{0x90, 3, id[0], id[1], code})
	b.mu.Lock()
	kept, ok := b.retained[topic]
	b.mu.Unlock()
	if subscribed[topic] = !denied; ok && !denied {
		conn.Write(publishPacket(0x31, topic, kept))
	}
}

func publishPacket(head byte, topic string, payload []byte) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = append(append(body, topic...), payload...)
	return append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)
}

func readPacket(r *bufio.Reader) (head byte, body []byte, ok bool) {
	head, err := r.ReadByte()
	if err != nil {
		return 0, nil, false
	}
	length, err := binary.ReadUvarint(r)
	if err != nil || length > 1<<16 {
		return 0, nil, false
	}
	body = make([]byte, length)
	_, err = io.ReadFull(r, body)
	return head, bytes.Clone(body), err == nil
}

func cutText(b []byte) (text string, rest []byte) {
	n := int(binary.BigEndian.Uint16(b))
	return string(b[2 : 2+n]), b[2+n:]
}
