// Package mqtttest has a broker that behaves as a test says.
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

// Types of packets that a client sends: MQTT 3.1.1, section 2.2.1.
const (
	PublishPacket     = 3
	SubscribePacket   = 8
	UnsubscribePacket = 10
)

// A Broker is a broker on loopback that behaves as a script says.
type Broker struct {
	Listener net.Listener
	script   func(*Conn)

	// Mu guards all that follows.
	Mu        sync.Mutex
	Connects  int             // of agents
	First     time.Time       // when the first connection came, or when the broker began to stall it
	Second    time.Time       // when the next came
	Published int             // messages that came
	Acked     map[string]bool // readings that it acknowledged
	open      map[net.Conn]bool
	closing   chan struct{}
	all       sync.WaitGroup
}

// NewBroker returns a broker at a free port, which runs the script for each
// connection in a goroutine of its own; Stop ends it.
func NewBroker(t *testing.T, script func(*Conn)) *Broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return Serve(l, script)
}

// Serve returns a broker behind a listener, which Stop closes.
func Serve(l net.Listener, script func(*Conn)) *Broker {
	f := &Broker{Listener: l, script: script, Acked: map[string]bool{}, open: map[net.Conn]bool{},
		closing: make(chan struct{})}
	f.all.Go(f.accept)
	return f
}

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

func (f *Broker) handle(conn net.Conn) {
	f.script(&Conn{Broker: f, Conn: conn, Input: bufio.NewReader(conn), subs: map[string]bool{}})
	f.Mu.Lock()
	defer f.Mu.Unlock()
	conn.Close()
	delete(f.open, conn)
}

// Stop ends every connection, and returns when all scripts have ended.
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

// A Conn is the broker's end of one connection.
type Conn struct {
	*Broker
	net.Conn
	Input       *bufio.Reader
	AcksNothing bool // acknowledges no publication
	subs        map[string]bool
	agent       bool // the first packet was a CONNECT of MQTT
}

// A Packet is one from the agent.
type Packet struct {
	Kind    byte
	Id      uint16
	Topic   string
	payload []byte
	raw     []byte
}

// Next reads a packet; false when the connection has ended.
func (s *Conn) Next() (p Packet, ok bool) {
	head, err := s.Input.ReadByte()
	if err != nil {
		return p, false
	}
	length, err := binary.ReadUvarint(s.Input)
	if err != nil || length > 1<<20 {
		return p, false
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(s.Input, body); err != nil {
		return p, false
	}
	p = Packet{Kind: head >> 4, raw: append(binary.AppendUvarint([]byte{head}, length), body...)}
	if !s.agent && !(p.Kind == 1 && bytes.HasPrefix(body, []byte("\x00\x04MQTT"))) {
		// The client of another test, whose server had this port before. Scripts go
		// on after a failed read: nothing more of it may be taken for packets.
		s.Close()
		s.Input.Reset(strings.NewReader(""))
		s.Mu.Lock()
		s.Connects--
		s.Mu.Unlock()
		return p, false
	}
	s.agent = true
	switch p.Kind {
	case SubscribePacket:
		p.Id = binary.BigEndian.Uint16(body)
		p.Topic = string(body[4 : len(body)-1])
	case UnsubscribePacket:
		p.Id = binary.BigEndian.Uint16(body)
		p.Topic = string(body[4:])
	case PublishPacket:
		topic, rest := cutString(body)
		p.Topic = topic
		if head&6 != 0 {
			p.Id, rest = binary.BigEndian.Uint16(rest), rest[2:]
		}
		p.payload = rest
		s.Mu.Lock()
		s.Published++
		s.Mu.Unlock()
	}
	return p, true
}

func cutString(b []byte) (string, []byte) {
	n := 2 + int(binary.BigEndian.Uint16(b))
	return string(b[2:n]), b[n:]
}

// Send writes bytes; false when nothing can be written any more.
func (s *Conn) Send(bytes ...byte) bool {
	_, err := s.Write(bytes)
	return err == nil
}

// AcceptConnect reads CONNECT and answers it.
func (s *Conn) AcceptConnect() bool {
	_, ok := s.Next()
	return ok && s.Send(0x20, 2, 0, 0)
}

// Serve answers until the connection has ended, as a broker should but for what
// special deals with: it reports whether it has.
func (s *Conn) Serve(special func(Packet) bool) {
	for {
		p, ok := s.Next()
		if !ok {
			return
		}
		if special == nil || !special(p) {
			s.Answer(p)
		}
	}
}

// Answer answers one packet as a broker should.
func (s *Conn) Answer(p Packet) {
	switch p.Kind {
	case SubscribePacket:
		s.subs[p.Topic] = true
		s.Send(0x90, 3, byte(p.Id>>8), byte(p.Id), 1)
	case UnsubscribePacket:
		delete(s.subs, p.Topic)
		s.Send(0xb0, 2, byte(p.Id>>8), byte(p.Id))
	case PublishPacket:
		if s.AcksNothing {
			s.NoteStall()
		}
		if s.AcksNothing || p.Id == 0 {
			break
		}
		s.noteAcked(p)
		s.Send(0x40, 2, byte(p.Id>>8), byte(p.Id))
		if s.subs[p.Topic] || p.Topic == "porch/agent/canary" {
			s.Publish(0, p.Topic, p.payload)
		}
	case 12: // PINGREQ
		s.Send(0xd0, 0)
	}
}

// noteAcked remembers a reading that is acknowledged.
func (s *Conn) noteAcked(p Packet) {
	var r struct{ Seq uint64 }
	if p.Topic != "porch/room" && p.Topic != "porch/door" || json.Unmarshal(p.payload, &r) != nil {
		return
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.Acked[fmt.Sprint(p.Topic, r.Seq)] = true
}

// Publish publishes at QoS 0, or at another if flags say so.
func (s *Conn) Publish(flags byte, topic string, payload []byte) bool {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = append(body, topic...)
	if flags&6 != 0 {
		body = append(body, 1, 1)
	}
	body = append(body, payload...)
	return s.Send(append(binary.AppendUvarint([]byte{0x30 | flags}, uint64(len(body))), body...)...)
}

// NoteStall notes that the hang begins now, not with the connection.
func (s *Conn) NoteStall() {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if s.Connects == 1 {
		s.First = time.Now()
	}
}

// IsFirst reports whether this is the first connection.
func (s *Conn) IsFirst() bool {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return s.Connects == 1
}

// Linger reads and says nothing until the agent gives up.
func (s *Conn) Linger() { io.Copy(io.Discard, s.Input) }

// BlockUntilClosed does not even read.
func (s *Conn) BlockUntilClosed() { <-s.closing }

// Trickle writes a byte at a time until the agent gives up.
func (s *Conn) Trickle(every time.Duration, bytes ...byte) bool {
	for _, b := range bytes {
		time.Sleep(every)
		if !s.Send(b) {
			return false
		}
	}
	return true
}
