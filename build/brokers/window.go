package main

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// A window is a pane in the wall between agent and broker: TLS ends there and
// begins anew, so that one sees which readings the broker has acknowledged.
type window struct {
	listener net.Listener
	broker   func() (net.Conn, error)
	all      sync.WaitGroup

	mu       sync.Mutex
	acked    map[key]bool
	awaited  int // acknowledgements until begun is closed
	begun    chan struct{}
	farewell bool // the agent has published `offline` itself and ended the session in order
	conns    map[net.Conn]bool
	closed   bool
}

// key identifies a reading.
type key struct {
	topic, boot string
	seq         uint64
}

func newWindow(ca *authority, address string) (*window, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.pair}})
	if err != nil {
		return nil, err
	}
	w := &window{listener: l, acked: map[key]bool{}, conns: map[net.Conn]bool{}}
	w.broker = func() (net.Conn, error) {
		return tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, ca.client())
	}
	w.all.Go(w.accept)
	return w, nil
}

func (w *window) address() string { return w.listener.Addr().String() }

// close ends every connection and returns when nothing is left.
func (w *window) close() {
	w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.all.Wait()
}

func (w *window) hasAcked(k key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked[k]
}

// after returns a channel that is closed with the nth acknowledgement from now.
func (w *window) after(n int) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaited, w.begun = n, make(chan struct{})
	return w.begun
}

func (w *window) sawFarewell() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.farewell
}

func (w *window) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.all.Go(func() { w.carry(near) })
	}
}

func (w *window) carry(near net.Conn) {
	defer near.Close()
	far, err := w.broker()
	if err != nil {
		return
	}
	defer far.Close()
	if !w.hold(near, far) {
		return
	}
	defer w.release(near, far)
	c := &session{window: w, sent: map[uint16]key{}}
	w.all.Go(func() {
		defer near.Close()
		c.copy(near, far, c.toClient)
	})
	c.copy(far, near, c.toServer)
}

func (w *window) hold(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = true
	}
	return !w.closed
}

func (w *window) release(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		delete(w.conns, c)
	}
}

// A session is one connection through the window.
type session struct {
	*window
	sent    map[uint16]key // by packet identifier
	offline bool           // the last publication on our status
}

// copy carries data; what is read in it is noted before it travels on.
func (*session) copy(to io.Writer, from io.Reader, note func(head byte, body []byte)) {
	var rest []byte // of a packet that is not whole yet
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		rest = wholePackets(append(rest, buf[:n]...), note)
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

const (
	packetPublish    = 3
	packetPuback     = 4
	packetDisconnect = 14
)

func (c *session) toServer(head byte, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch head >> 4 {
	case packetDisconnect:
		c.farewell = c.offline
	case packetPublish:
		n := 2 + int(binary.BigEndian.Uint16(body))
		topic, payload := string(body[2:n]), body[n:]
		if head>>1&3 > 0 { // QoS 1: an identifier is in between
			id := binary.BigEndian.Uint16(payload)
			payload = payload[2:]
			var r reading
			json.Unmarshal(payload, &r) // other messages have no boot
			c.sent[id] = key{topic, r.Boot, r.Seq}
		}
		if strings.HasSuffix(topic, "/agent/status") {
			c.offline = string(payload) == "offline"
		}
	}
}

func (c *session) toClient(head byte, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if head>>4 == packetPuback {
		c.acked[c.sent[binary.BigEndian.Uint16(body)]] = true
		if c.awaited--; c.awaited == 0 {
			close(c.begun)
		}
	}
}

// wholePackets calls f for each whole packet and returns the rest. MQTT 3.1.1,
// section 2.2: a byte of type and flags, then the length in seven bits a byte.
func wholePackets(data []byte, f func(head byte, body []byte)) (rest []byte) {
	for len(data) >= 2 {
		length, n := binary.Uvarint(data[1:])
		if n <= 0 || uint64(len(data)) < 1+uint64(n)+length {
			break
		}
		whole := 1 + n + int(length)
		f(data[0], data[1+n:whole])
		data = data[whole:]
	}
	return append([]byte(nil), data...)
}
