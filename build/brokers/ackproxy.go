package main

import (
	"cmp"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// An ackProxy is a proxy between agent and broker that terminates TLS on both sides, and so
// observes which readings the broker has acknowledged.
type ackProxy struct {
	listener net.Listener
	broker   func() (net.Conn, error)
	all      sync.WaitGroup

	mu         sync.Mutex
	acked      map[key]bool
	awaited    int // number of acknowledgements until begun is closed
	begun      chan struct{}
	orderlyEnd bool // the agent has published `offline` itself and ended the session in order
	conns      map[net.Conn]bool
	closed     bool
}

// key identifies a reading.
type key struct {
	topic, boot string
	seq         uint64
}

func (k key) compare(other key) int {
	return cmp.Or(cmp.Compare(k.topic, other.topic), cmp.Compare(k.boot, other.boot), cmp.Compare(k.seq, other.seq))
}

func newAckProxy(ca *authority, address string) (*ackProxy, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.pair}})
	if err != nil {
		return nil, err
	}
	w := &ackProxy{listener: l, acked: map[key]bool{}, conns: map[net.Conn]bool{}}
	w.broker = func() (net.Conn, error) {
		return tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, ca.client())
	}
	w.all.Go(w.accept)
	return w, nil
}

func (w *ackProxy) address() string { return w.listener.Addr().String() }

// close closes every connection and returns when all goroutines have ended.
func (w *ackProxy) close() {
	w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.all.Wait()
}

func (w *ackProxy) hasAcked(k key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked[k]
}

// after returns a channel that is closed with the nth acknowledgement from now.
func (w *ackProxy) after(n int) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaited, w.begun = n, make(chan struct{})
	return w.begun
}

func (w *ackProxy) sawOrderlyEnd() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.orderlyEnd
}

func (w *ackProxy) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.all.Go(func() { w.carry(near) })
	}
}

func (w *ackProxy) carry(near net.Conn) {
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
	c := &session{ackProxy: w, sent: map[uint16]key{}, aliases: map[uint16]string{}}
	w.all.Go(func() {
		defer near.Close()
		c.copy(near, far, c.toClient)
	})
	c.copy(far, near, c.toServer)
}

func (w *ackProxy) hold(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = true
	}
	return !w.closed
}

func (w *ackProxy) release(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		delete(w.conns, c)
	}
}
