package uplink

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

// A fakeBroker is a broker on loopback that behaves as a script says.
type fakeBroker struct {
	listener net.Listener
	script   func(*brokerConn)

	mu        sync.Mutex
	connects  int
	first     time.Time       // when the first connection came, or when the broker began to stall it
	second    time.Time       // when the next came
	published int             // messages that came
	acked     map[string]bool // readings that it acknowledged
	open      map[net.Conn]bool
	closing   chan struct{}
	all       sync.WaitGroup
}

func newFakeBroker(t *testing.T, script func(*brokerConn)) *fakeBroker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeBroker{listener: l, script: script, acked: map[string]bool{}, open: map[net.Conn]bool{}, closing: make(chan struct{})}
	f.all.Go(f.accept)
	return f
}

func (f *fakeBroker) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		switch f.connects++; f.connects {
		case 1:
			f.first = time.Now()
		case 2:
			f.second = time.Now()
		}
		f.open[conn] = true
		f.mu.Unlock()
		f.all.Go(func() { f.handle(conn) })
	}
}

func (f *fakeBroker) handle(conn net.Conn) {
	f.script(&brokerConn{fakeBroker: f, Conn: conn, in: bufio.NewReader(conn), subs: map[string]bool{}})
	f.mu.Lock()
	defer f.mu.Unlock()
	conn.Close()
	delete(f.open, conn)
}

// close ends every connection, and returns when all scripts have ended.
func (f *fakeBroker) close() {
	f.listener.Close()
	close(f.closing)
	f.mu.Lock()
	for conn := range f.open {
		conn.Close()
	}
	clear(f.open)
	f.mu.Unlock()
	f.all.Wait()
}

// A brokerConn is the broker's end of one connection.
type brokerConn struct {
	*fakeBroker
	net.Conn
	in          *bufio.Reader
	acksNothing bool // acknowledges no publication
	subs        map[string]bool
	agent       bool // the first packet was a CONNECT of MQTT
}

// A packet is one from the agent.
type packet struct {
	kind    byte
	id      uint16
	topic   string
	payload []byte
	raw     []byte
}

// next reads a packet; false when the connection has ended.
func (s *brokerConn) next() (p packet, ok bool) {
	head, err := s.in.ReadByte()
	if err != nil {
		return p, false
	}
	length, err := binary.ReadUvarint(s.in)
	if err != nil || length > 1<<20 {
		return p, false
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(s.in, body); err != nil {
		return p, false
	}
	p = packet{kind: head >> 4, raw: append(binary.AppendUvarint([]byte{head}, length), body...)}
	if !s.agent && !(p.kind == 1 && bytes.HasPrefix(body, []byte("\x00\x04MQTT"))) {
		// The client of another test, whose server had this port before. Scripts go
		// on after a failed read: nothing more of it may be taken for packets.
		s.Close()
		s.in.Reset(strings.NewReader(""))
		s.mu.Lock()
		s.connects--
		s.mu.Unlock()
		return p, false
	}
	s.agent = true
	switch p.kind {
	case packetSubscribe:
		p.id = binary.BigEndian.Uint16(body)
		p.topic = string(body[4 : len(body)-1])
	case packetUnsubscribe:
		p.id = binary.BigEndian.Uint16(body)
		p.topic = string(body[4:])
	case packetPublish:
		topic, rest := cutString(body)
		p.topic = topic
		if head&6 != 0 {
			p.id, rest = binary.BigEndian.Uint16(rest), rest[2:]
		}
		p.payload = rest
		s.mu.Lock()
		s.published++
		s.mu.Unlock()
	}
	return p, true
}

func cutString(b []byte) (string, []byte) {
	n := 2 + int(binary.BigEndian.Uint16(b))
	return string(b[2:n]), b[n:]
}

// say writes bytes; false when nothing can be written any more.
func (s *brokerConn) write(bytes ...byte) bool {
	_, err := s.Write(bytes)
	return err == nil
}

// welcome reads CONNECT and answers it.
func (s *brokerConn) acceptConnect() bool {
	_, ok := s.next()
	return ok && s.write(0x20, 2, 0, 0)
}

// serve answers until the connection has ended, as a broker should but for what
// odd deals with.
func (s *brokerConn) serve(special func(packet) bool) {
	for {
		p, ok := s.next()
		if !ok {
			return
		}
		if special == nil || !special(p) {
			s.answer(p)
		}
	}
}

func (s *brokerConn) answer(p packet) {
	switch p.kind {
	case packetSubscribe:
		s.subs[p.topic] = true
		s.write(0x90, 3, byte(p.id>>8), byte(p.id), 1)
	case packetUnsubscribe:
		delete(s.subs, p.topic)
		s.write(0xb0, 2, byte(p.id>>8), byte(p.id))
	case packetPublish:
		if s.acksNothing {
			s.noteStall()
		}
		if s.acksNothing || p.id == 0 {
			break
		}
		s.noteAcked(p)
		s.write(0x40, 2, byte(p.id>>8), byte(p.id))
		if s.subs[p.topic] || p.topic == "porch/agent/canary" {
			s.publish(0, p.topic, p.payload)
		}
	case 12: // PINGREQ
		s.write(0xd0, 0)
	}
}

// note remembers a reading that is acknowledged.
func (s *brokerConn) noteAcked(p packet) {
	var r struct{ Seq uint64 }
	if p.topic != "porch/room" && p.topic != "porch/door" || json.Unmarshal(p.payload, &r) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked[fmt.Sprint(p.topic, r.Seq)] = true
}

// tell publishes at QoS 0, or at another if flags say so.
func (s *brokerConn) publish(flags byte, topic string, payload []byte) bool {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = append(body, topic...)
	if flags&6 != 0 {
		body = append(body, 1, 1)
	}
	body = append(body, payload...)
	return s.write(append(binary.AppendUvarint([]byte{0x30 | flags}, uint64(len(body))), body...)...)
}

// stalls notes that the hang begins now, not with the connection.
func (s *brokerConn) noteStall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connects == 1 {
		s.first = time.Now()
	}
}

func (s *brokerConn) isFirst() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connects == 1
}

// linger reads and says nothing until the agent gives up.
func (s *brokerConn) linger() { io.Copy(io.Discard, s.in) }

// ignore does not even read.
func (s *brokerConn) blockUntilClosed() { <-s.closing }

// trickle writes a byte at a time until the agent gives up.
func (s *brokerConn) trickle(every time.Duration, bytes ...byte) bool {
	for _, b := range bytes {
		time.Sleep(every)
		if !s.write(b) {
			return false
		}
	}
	return true
}

// TestFakeBrokerIgnoresAStranger: a ClientHello of TLS, whose bytes after the
// first few look like a PUBLISH with a topic longer than itself.
func TestFakeBrokerIgnoresAStranger(t *testing.T) {
	f := newFakeBroker(t, func(s *brokerConn) { s.next(); s.serve(nil) })
	conn, err := net.Dial("tcp", f.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte{0x16, 3, 1, 2, 0, 0x30, 4, 0xff, 0xff, 'a', 'b'})
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came back", n)
	}
	f.close()
	if f.connects != 0 {
		t.Errorf("%d connections are counted", f.connects)
	}
}
