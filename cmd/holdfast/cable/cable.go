// Package cable is a simulated network cable that a program can pull: a TCP proxy on
// loopback, for the demo, the tests and the benchmarks.
//
// A cable adds no delay, unless a [Link] is given: build/rig/link makes slow links with a
// long delay, and cuts them at a given byte.
package cable

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// A Cable forwards connections to one address while it is plugged in. Its methods may be
// called from any goroutine.
type Cable struct {
	listener net.Listener
	dialer   net.Dialer
	target   string // host:port of the server
	tap      func() Tap
	link     Link
	all      sync.WaitGroup // counts every goroutine of the cable

	mu     sync.Mutex // guards the fields below; not held during reads and writes
	pulled bool
	closed bool
	conns  map[net.Conn]bool // open connections, to the client and to the server
}

// A Tap sees the data of one connection, each direction in its own goroutine. The data is
// forwarded after the call has returned.
type Tap interface {
	ToServer(data []byte)
	ToClient(data []byte)
}

// A Link defines how a cable forwards data. Each function may be nil; they are called from
// the goroutines of the connections.
type Link struct {
	// Control sets options of each socket, like that of net.Dialer.
	Control func(network, address string, c syscall.RawConn) error
	// Connect blocks for as long as establishing a connection takes.
	Connect func()
	// Carry reads from a connection and calls deliver for the data that arrives at the other
	// end, until the connection ends or deliver returns false. up is true in the direction to
	// the server.
	Carry func(from net.Conn, up bool, deliver func([]byte) bool)
}

// New creates a cable to a TCP address; it is plugged in. tap is called for each
// connection; it may be nil.
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

// Addr is the address that clients connect to, host:port.
func (c *Cable) Addr() string { return c.listener.Addr().String() }

// Pull resets every connection and refuses new ones. Data in flight is lost.
func (c *Cable) Pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	c.cutLocked()
}

// Plug forwards new connections again.
func (c *Cable) Plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}

// cutLocked resets every connection, so that data in flight does not arrive: an ordinary
// close would still send it.
func (c *Cable) cutLocked() {
	for conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset
		}
		conn.Close()
	}
}

// Close resets every connection, removes the cable, and returns when all its goroutines
// have ended.
func (c *Cable) Close() error {
	c.mu.Lock()
	c.closed = true
	c.cutLocked()
	c.mu.Unlock()
	err := c.listener.Close()
	c.all.Wait()
	return err
}

// accept accepts connections until the listener is closed.
func (c *Cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.all.Go(func() { c.carry(near) })
	}
}

// carry connects to the server and forwards in both directions until one end is closed.
func (c *Cable) carry(near net.Conn) {
	defer c.drop(near)
	if !c.hold(near) {
		return
	}
	// A pulled cable refuses at once; a link with a long delay blocks here.
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
	// Each connection has its own tap, so that a tap can follow the protocol.
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
		<-down // the server has closed its end: what it sent before is still delivered
	}
}

// hold registers a connection; it is false if the cable is not plugged in, and then the
// caller closes the connection. drop removes it.
func (c *Cable) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulled || c.closed {
		return false
	}
	c.conns[conn] = true
	return true
}

// drop closes a connection and removes it. The connection may be closed already.
func (c *Cable) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	conn.Close()
}

// oneWay forwards one direction until a connection ends. It returns true if that was the
// one that it reads from. It allocates its own buffer, because both directions run at the
// same time.
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
