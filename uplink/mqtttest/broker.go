// Package mqtttest has an MQTT broker for tests that misbehaves as a script determines: it
// sends invalid packets, stops reading, or acknowledges nothing. It keeps no sessions and no
// retained messages. A test that needs a correct broker uses an embedded or a real one.
//
// # Concurrency
//
// Each connection runs its script in a goroutine of its own, which owns its [Conn].
// [Broker.Stop] waits for all of them. The counters of a [Broker] are guarded by
// its Mu; after Stop they do not change and need no lock.
package mqtttest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Types of packets that scripts compare with [Packet.Kind]: MQTT 3.1.1, section
// 2.2.1.
const (
	PublishPacket     = 3
	SubscribePacket   = 8
	UnsubscribePacket = 10

	connectPacket = 1
	pingreqPacket = 12
)

// Of MQTT 5: where CONNECT has the protocol level (section 3.1.2.2), and the properties
// that this package reads (section 2.2.2.2).
const (
	levelAt      = 6
	level5       = 5
	topicAlias   = 0x23
	userProperty = 0x26
)

// qosBits are the bits of the QoS in the first byte of PUBLISH. MQTT 3.1.1, section
// 3.3.1.2.
const qosBits = 6

// A Broker is a broker behind a listener, which counts what reaches it. Create one
// with [NewBroker] or [Serve], and end it with [Broker.Stop].
type Broker struct {
	Listener net.Listener // read only
	script   func(*Conn)

	// Mu guards the fields up to the next blank line.
	Mu        sync.Mutex
	Connects  int               // connections, without those that were not a client of MQTT
	First     time.Time         // when the first connection was accepted, or when NoteStall was called on it
	Second    time.Time         // when the second connection was accepted
	Published int               // PUBLISH packets that were read
	Acked     map[string]bool   // readings that were acknowledged, each by its topic and seq without a separator
	open      map[net.Conn]bool // the connections whose script runs

	closing chan struct{}  // closed by Stop
	all     sync.WaitGroup // accept and the scripts
}

// NewBroker returns a broker on 127.0.0.1 at a free port. It fails the test if it
// cannot listen. The caller stops it.
func NewBroker(t *testing.T, script func(*Conn)) *Broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return Serve(l, script)
}

// Serve returns a broker behind a listener, also one in memory. It runs the script
// for each connection, and closes the connection when the script returns.
// [Broker.Stop] closes the listener.
func Serve(l net.Listener, script func(*Conn)) *Broker {
	f := &Broker{Listener: l, script: script, Acked: map[string]bool{}, open: map[net.Conn]bool{},
		closing: make(chan struct{})}
	f.all.Go(f.accept)
	return f
}

// accept counts and starts connections until the listener is closed.
func (f *Broker) accept() {
	for {
		conn, err := f.Listener.Accept()
		if err != nil {
			return
		}
		f.Mu.Lock()
		switch f.Connects++; f.Connects {
		case 1:
			f.First = time.Now()
		case 2:
			f.Second = time.Now()
		}
		f.open[conn] = true
		f.Mu.Unlock()
		f.all.Go(func() { f.handle(conn) })
	}
}

// handle runs the script for one connection.
func (f *Broker) handle(conn net.Conn) {
	f.script(&Conn{Broker: f, Conn: conn, Input: bufio.NewReader(conn), subs: map[string]bool{},
		aliases: map[uint16]string{}})
	f.Mu.Lock()
	defer f.Mu.Unlock()
	conn.Close()
	delete(f.open, conn)
}

// Stop closes the listener and every connection, and returns when all scripts have
// returned. It must be called once, without Mu.
func (f *Broker) Stop() {
	f.Listener.Close()
	close(f.closing)
	f.Mu.Lock()
	for conn := range f.open {
		conn.Close()
	}
	clear(f.open)
	f.Mu.Unlock()
	f.all.Wait()
}

// A Conn is the broker's end of one connection. Only the goroutine of its script
// uses it, unless the script itself starts another that reads or writes.
type Conn struct {
	*Broker
	net.Conn
	Input       *bufio.Reader // what the client sends; scripts read from here, not from net.Conn
	AcksNothing bool          // Answer sends no PUBACK
	V5          bool          // CONNECT was of MQTT 5, and so is what AcceptConnect, Answer and Publish send
	aliases     map[uint16]string
	subs        map[string]bool // topics that the client has subscribed to; filters with wildcards match nothing
	isMQTT      bool            // the first packet was a CONNECT of MQTT
}

// A Packet is a packet that the client has sent.
type Packet struct {
	Kind    byte   // its type, the high half of the first byte
	ID      uint16 // of SUBSCRIBE, UNSUBSCRIBE, and PUBLISH at QoS 1; otherwise 0, which is not a valid ID
	Topic   string // of PUBLISH; of SUBSCRIBE and UNSUBSCRIBE the first topic
	Alias   uint16 // Topic Alias of PUBLISH with MQTT 5; 0: none
	payload []byte // of PUBLISH
}

// maxPacket limits the bytes of a packet that Next reads, so that a client that does not
// speak MQTT costs no memory.
const maxPacket = 1 << 20

// Next reads a packet. It reports false when the connection has ended, or when a
// packet is longer than maxPacket. The packets that the agent sends are well
// formed, so their bodies are not checked.
//
// A client whose first packet is not CONNECT is the client of another test, whose
// server had this port before. It is disconnected and not counted, and nothing more
// of it is read, because scripts go on after a failed read.
func (s *Conn) Next() (p Packet, ok bool) {
	head, err := s.Input.ReadByte()
	if err != nil {
		return p, false
	}
	length, err := binary.ReadUvarint(s.Input)
	if err != nil || length > maxPacket {
		return p, false
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(s.Input, body); err != nil {
		return p, false
	}
	p.Kind = head >> 4
	if !s.isMQTT && !(p.Kind == connectPacket && bytes.HasPrefix(body, []byte("\x00\x04MQTT"))) {
		s.Close()
		s.Input.Reset(strings.NewReader(""))
		s.Mu.Lock()
		s.Connects--
		s.Mu.Unlock()
		return p, false
	}
	if !s.isMQTT {
		s.isMQTT, s.V5 = true, body[levelAt] == level5
	}
	s.parse(&p, head, body)
	return p, true
}

// parse sets the fields of p that are in the body.
func (s *Conn) parse(p *Packet, head byte, body []byte) {
	switch p.Kind {
	case SubscribePacket, UnsubscribePacket:
		p.ID = binary.BigEndian.Uint16(body)
		_, body = s.cutProperties(body[2:])
		p.Topic, _ = cutString(body)
	case PublishPacket:
		var properties []byte
		p.Topic, body = cutString(body)
		if head&qosBits != 0 {
			p.ID, body = binary.BigEndian.Uint16(body), body[2:]
		}
		properties, p.payload = s.cutProperties(body)
		s.resolve(p, properties)
		s.Mu.Lock()
		s.Published++
		s.Mu.Unlock()
	}
}

// cutProperties splits a body after its properties, which begin with their length: MQTT 5,
// section 2.2.2. There are none with MQTT 3.1.1.
func (s *Conn) cutProperties(b []byte) (properties, rest []byte) {
	if !s.V5 {
		return nil, b
	}
	length, n := binary.Uvarint(b)
	return b[n : n+int(length)], b[n+int(length):]
}

// valueSizes are the bytes of the properties of PUBLISH that have a fixed size: MQTT 5,
// section 2.2.2.2.
var valueSizes = map[byte]int{0x01: 1, 0x02: 4, topicAlias: 2}

// resolve finds the Topic Alias of a PUBLISH, and the topic that it stands for.
func (s *Conn) resolve(p *Packet, properties []byte) {
	for len(properties) > 0 {
		id, value := properties[0], properties[1:]
		size, fixed := valueSizes[id]
		switch {
		case id == topicAlias:
			p.Alias = binary.BigEndian.Uint16(value)
		case id == userProperty:
			_, behind := cutString(value)
			_, behind = cutString(behind)
			size = len(value) - len(behind)
		case !fixed: // text, or bytes
			_, behind := cutString(value)
			size = len(value) - len(behind)
		}
		properties = value[size:]
	}
	switch {
	case p.Alias == 0:
	case p.Topic == "":
		p.Topic = s.aliases[p.Alias]
	default:
		s.aliases[p.Alias] = p.Topic
	}
}

// cutString splits a body after its first string, which begins with its length: MQTT 3.1.1,
// section 1.5.3.
func cutString(b []byte) (string, []byte) {
	n := 2 + int(binary.BigEndian.Uint16(b))
	return string(b[2:n]), b[n:]
}

// Send writes bytes as they are, whether they are a packet or not. It reports false
// when the connection has ended.
func (s *Conn) Send(packet ...byte) bool {
	_, err := s.Write(packet)
	return err == nil
}

// AcceptConnect reads a packet, which has to be CONNECT, and answers with CONNACK
// and code 0. The properties are for a client of MQTT 5: each with its identifier, and
// without their length. It reports false if that fails.
func (s *Conn) AcceptConnect(properties ...byte) bool {
	_, ok := s.Next()
	switch {
	case !ok:
		return false
	case !s.V5:
		return s.Send(0x20, 2, 0, 0)
	}
	return s.SendPacket(0x20, append(binary.AppendUvarint([]byte{0, 0}, uint64(len(properties))), properties...))
}

// SendPacket writes a packet of a first byte and a body. It reports false when the
// connection has ended.
func (s *Conn) SendPacket(head byte, body []byte) bool {
	return s.Send(append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)...)
}

// Serve answers packets until the connection has ended. handled is called first,
// unless it is nil: a packet for which it returns true is not answered otherwise.
func (s *Conn) Serve(handled func(Packet) bool) {
	for {
		p, ok := s.Next()
		if !ok {
			return
		}
		if handled == nil || !handled(p) {
			s.Answer(p)
		}
	}
}

// Answer answers one packet, unless AcksNothing is set: with SUBACK, UNSUBACK, PUBACK or
// PINGRESP. It sends a message at QoS 1 back to the client at QoS 0 if the client has
// subscribed to the topic. It always sends the agent's canary back, because some scripts
// refuse its subscription.
func (s *Conn) Answer(p Packet) {
	switch p.Kind {
	case SubscribePacket:
		s.subs[p.Topic] = true
		s.answerRequest(0x90, p.ID, 1) // SUBACK, QoS 1 granted
	case UnsubscribePacket:
		delete(s.subs, p.Topic)
		if s.V5 {
			s.answerRequest(0xb0, p.ID, 0) // UNSUBACK
			break
		}
		s.Send(0xb0, 2, byte(p.ID>>8), byte(p.ID))
	case PublishPacket:
		if s.AcksNothing {
			s.NoteStall()
		}
		if s.AcksNothing || p.ID == 0 {
			break
		}
		s.NoteAcked(p)
		s.Send(0x40, 2, byte(p.ID>>8), byte(p.ID)) // PUBACK
		if s.subs[p.Topic] || p.Topic == "porch/agent/canary" {
			s.Publish(0, p.Topic, p.payload)
		}
	case pingreqPacket:
		s.Send(0xd0, 0) // PINGRESP
	}
}

// answerRequest sends SUBACK, or UNSUBACK of MQTT 5, with one code.
func (s *Conn) answerRequest(head byte, id uint16, code byte) {
	body := binary.BigEndian.AppendUint16(nil, id)
	if s.V5 {
		body = append(body, 0) // no properties
	}
	s.SendPacket(head, append(body, code))
}

// NoteAcked adds a message to Acked if it is a reading of one of the two streams that the
// tests configure. Scripts that acknowledge by themselves call it.
func (s *Conn) NoteAcked(p Packet) {
	var r struct{ Seq uint64 }
	if p.Topic != "porch/room" && p.Topic != "porch/door" || json.Unmarshal(p.payload, &r) != nil {
		return
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.Acked[fmt.Sprint(p.Topic, r.Seq)] = true
}

// Publish sends a message to the client. flags are the low four bits of the first
// byte (DUP, QoS, RETAIN: MQTT 3.1.1, section 3.3.1); 0 is QoS 0. The packet ID at
// another QoS is always the same, as if it were never acknowledged. It reports
// false when the connection has ended.
func (s *Conn) Publish(flags byte, topic string, payload []byte) bool {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = append(body, topic...)
	if flags&qosBits != 0 {
		body = append(body, 1, 1)
	}
	if s.V5 {
		body = append(body, 0) // no properties
	}
	return s.SendPacket(0x30|flags, append(body, payload...))
}

// NoteStall sets First to now if this is the first connection: the broker hangs from now on,
// and the test measures how long the agent waits before it reconnects.
func (s *Conn) NoteStall() {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if s.Connects == 1 {
		s.First = time.Now()
	}
}

// IsFirst reports whether only one connection was counted so far.
func (s *Conn) IsFirst() bool {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return s.Connects == 1
}

// Linger reads and discards everything, and sends nothing, until the client closes
// the connection or Stop is called.
func (s *Conn) Linger() { io.Copy(io.Discard, s.Input) }

// BlockUntilClosed neither reads nor writes until Stop is called, so the client's
// writes fill the buffers of the kernel.
func (s *Conn) BlockUntilClosed() { <-s.closing }

// Trickle sends bytes one at a time, and waits before each. It reports false when
// the client closes the connection.
func (s *Conn) Trickle(every time.Duration, packet ...byte) bool {
	for _, b := range packet {
		time.Sleep(every)
		if !s.Send(b) {
			return false
		}
	}
	return true
}
