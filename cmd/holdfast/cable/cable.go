// Package cable is a network cable that a program can pull: a TCP proxy on
// loopback, for the demo and the tests.
package cable

import (
	"io"
	"net"
	"sync"
)

// A Cable carries connections to one address while it is plugged in.
type Cable struct {
	listener net.Listener
	target   string
	tap      func() Tap

	mu     sync.Mutex
	pulled bool
	closed bool
	conns  map[net.Conn]bool // both ends
	all    sync.WaitGroup
}

// A Tap sees what travels over one connection, each way in its own goroutine.
// Nothing travels on before it returns.
type Tap interface {
	ToServer(data []byte)
	ToClient(data []byte)
}

// New lays a cable to a TCP address; it is plugged in. Each connection gets a
// tap of its own; tap may be nil.
func New(target string, tap func() Tap) (*Cable, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Cable{listener: l, target: target, tap: tap, conns: map[net.Conn]bool{}}
	c.all.Go(c.accept)
	return c, nil
}

// Addr is the near end.
func (c *Cable) Addr() string { return c.listener.Addr().String() }

// Pull breaks every connection and refuses new ones.
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

// Cut breaks every connection; new ones pass.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutLocked()
}

func (c *Cable) cutLocked() {
	for conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset, and nothing of what is under way arrives
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

func (c *Cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.all.Go(func() { c.carry(near) })
	}
}

func (c *Cable) carry(near net.Conn) {
	defer c.drop(near)
	if !c.hold(near) {
		return
	}
	far, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer c.drop(far)
	if !c.hold(far) {
		return
	}
	toServer, toClient := func([]byte) {}, func([]byte) {}
	if c.tap != nil {
		t := c.tap()
		toServer, toClient = t.ToServer, t.ToClient
	}
	c.all.Go(func() {
		carry(near, far, toClient)
		c.drop(near)
	})
	carry(far, near, toServer)
}

// hold notes a connection; false if the cable is not plugged in.
func (c *Cable) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulled || c.closed {
		return false
	}
	c.conns[conn] = true
	return true
}

func (c *Cable) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	conn.Close()
}

func carry(to io.Writer, from io.Reader, tap func([]byte)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		tap(buf[:n])
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
