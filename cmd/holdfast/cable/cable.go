// Package cable is a network cable that a program can pull, or one that is slow
// and long: a TCP proxy on loopback, for the demo, the tests and the benches.
package cable

import (
	"context"
	"math"
	"net"
	"sync"
)

// A Cable carries connections to one address while it is plugged in.
type Cable struct {
	listener net.Listener
	target   string
	tap      func() Tap
	up, down *lane // nil: neither slow nor long
	dialer   net.Dialer

	mu     sync.Mutex
	pulled bool
	closed bool
	conns  map[net.Conn]bool // both ends
	left   int               // bytes that pass before the next cut
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
func New(target string, tap func() Tap) (*Cable, error) { return lay(target, tap, Shape{}) }

func lay(target string, tap func() Tap, s Shape) (*Cable, error) {
	c := &Cable{target: target, tap: tap, conns: map[net.Conn]bool{}, left: never}
	var config net.ListenConfig
	if s != (Shape{}) {
		c.up, c.down = newLane(s), newLane(s)
		config.Control, c.dialer.Control = small, small
	}
	var err error
	if c.listener, err = config.Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
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

// never is more bytes than a cable carries.
const never = math.MaxInt

// CutAfter breaks every connection when n more bytes have passed, either way:
// in the middle of a message, and of a packet. It reports false if there is
// none that could be cut.
func (c *Cable) CutAfter(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) == 0 {
		return false
	}
	c.left = n
	return true
}

// pass says how much of some data gets through.
func (c *Cable) pass(data []byte) (through []byte, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == never {
		return data, true
	}
	n := min(len(data), c.left)
	c.left -= n
	return data[:n], c.left > 0
}

func (c *Cable) cutLocked() {
	c.left = never
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
	if c.up != nil {
		c.up.roundTrip() // in which the connection is made
	}
	far, err := c.dialer.Dial("tcp", c.target)
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
		c.oneWay(near, far, c.down, toClient)
		c.drop(near)
	})
	c.oneWay(far, near, c.up, toServer)
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

// oneWay carries until a connection ends.
func (c *Cable) oneWay(to, from net.Conn, l *lane, tap func([]byte)) {
	deliver := func(data []byte) bool {
		through, whole := c.pass(data)
		tap(through)
		_, err := to.Write(through)
		if !whole {
			c.Cut()
		}
		return err == nil && whole
	}
	if l != nil {
		l.carry(from, deliver)
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !deliver(buf[:n]) {
			return
		}
	}
}
