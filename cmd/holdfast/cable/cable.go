// Package cable is a network cable that a program can pull: a TCP proxy on
// loopback, for the demo, the tests and the benches.
//
// A cable is quick and short, unless a [Link] says otherwise: build/rig/link makes
// slow and long ones, and cuts them at a byte.
package cable

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// A Cable carries connections to one address while it is plugged in. Its methods
// may be called from any goroutine.
type Cable struct {
	listener net.Listener
	dialer   net.Dialer
	target   string // host:port of the far end
	tap      func() Tap
	link     Link
	all      sync.WaitGroup // every goroutine of the cable

	mu     sync.Mutex // guards what follows; nothing is read or written under it
	pulled bool
	closed bool
	conns  map[net.Conn]bool // that are open: both ends of each connection
}

// A Tap sees what travels over one connection, each way in its own goroutine.
// Nothing travels on before it returns.
type Tap interface {
	ToServer(data []byte)
	ToClient(data []byte)
}

// A Link is how a cable carries. Each function may be nil; they are called from the
// goroutines of the connections.
type Link struct {
	// Control sets options of each socket, as that of net.Dialer does.
	Control func(network, address string, c syscall.RawConn) error
	// Connect takes as long as the making of a connection does.
	Connect func()
	// Carry reads from a connection and calls deliver for what arrives at the other
	// end, until the connection ends or deliver reports false. up is the way to the
	// server.
	Carry func(from net.Conn, up bool, deliver func([]byte) bool)
}

// New lays a cable to a TCP address; it is plugged in. Each connection gets a
// tap of its own; tap may be nil.
func New(target string, tap func() Tap, link Link) (*Cable, error) {
	c := &Cable{target: target, tap: tap, link: link, conns: map[net.Conn]bool{}}
	config := net.ListenConfig{Control: link.Control}
	c.dialer.Control = link.Control
	var err error
	if c.listener, err = config.Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	c.all.Go(c.accept)
	return c, nil
}

// Addr is the near end, host:port.
func (c *Cable) Addr() string { return c.listener.Addr().String() }

// Pull breaks every connection and refuses new ones. Both ends of each see a reset at
// once, and bytes on the way are lost.
func (c *Cable) Pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	c.cutLocked()
}

// Plug lets connections through again.
func (c *Cable) Plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}

// cutLocked breaks every connection. What is under way does not arrive: closing
// alone would still send it.
func (c *Cable) cutLocked() {
	for conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset
		}
		conn.Close()
	}
}

// Close breaks every connection, takes the cable away, and returns when
// everything that it started has ended.
func (c *Cable) Close() error {
	c.mu.Lock()
	c.closed = true
	c.cutLocked()
	c.mu.Unlock()
	err := c.listener.Close()
	c.all.Wait()
	return err
}

// accept takes connections until the listener is closed.
func (c *Cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.all.Go(func() { c.carry(near) })
	}
}

// carry connects to the far end and carries both ways until one end is closed.
func (c *Cable) carry(near net.Conn) {
	defer c.drop(near)
	if !c.hold(near) {
		return
	}
	// A pulled cable refuses at once; a long one takes its time.
	if c.link.Connect != nil {
		c.link.Connect()
	}
	far, err := c.dialer.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer c.drop(far)
	if !c.hold(far) {
		return
	}
	// Each connection has a tap of its own, so that it can follow the protocol.
	toServer, toClient := func([]byte) {}, func([]byte) {}
	if c.tap != nil {
		t := c.tap()
		toServer, toClient = t.ToServer, t.ToClient
	}
	down := make(chan struct{})
	c.all.Go(func() {
		defer close(down)
		c.oneWay(near, far, false, toClient)
		c.drop(near)
	})
	if !c.oneWay(far, near, true, toServer) {
		<-down // the server takes no more: what it said before that is delivered
	}
}

// hold notes a connection; false if the cable is not plugged in. The caller then closes
// the connection; drop takes it off.
func (c *Cable) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulled || c.closed {
		return false
	}
	c.conns[conn] = true
	return true
}

// drop closes a connection, which may be closed already.
func (c *Cable) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	conn.Close()
}

// oneWay carries until a connection ends: with true, the one that it reads from. The
// buffer is one of its own, as both ways are carried at the same time.
func (c *Cable) oneWay(to, from net.Conn, up bool, tap func([]byte)) (taken bool) {
	taken = true
	deliver := func(data []byte) bool {
		tap(data)
		_, err := to.Write(data)
		taken = err == nil
		return taken
	}
	if c.link.Carry != nil {
		c.link.Carry(from, up, deliver)
		return taken
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !deliver(buf[:n]) {
			return taken
		}
	}
}
