package main

import (
	"cmp"
	"crypto/tls"
	"net"
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

func (k key) compare(other key) int {
	return cmp.Or(cmp.Compare(k.topic, other.topic), cmp.Compare(k.boot, other.boot), cmp.Compare(k.seq, other.seq))
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
	c := &session{window: w, sent: map[uint16]key{}, aliases: map[uint16]string{}}
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
