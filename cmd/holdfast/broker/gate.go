package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// A gate is a listener that sets deadlines for connections and limits how many of them may
// wait for admission. It waits for its goroutines: the library's own listener does not,
// which is a race with its Close.
type gate struct {
	limits
	listener net.Listener
	log      *slog.Logger
	closed   chan struct{}  // closed when Close begins
	once     sync.Once      // for Close
	work     sync.WaitGroup // Serve and its connections

	mu      sync.Mutex        // guards what follows
	open    map[*guarded]bool // all connections
	shut    bool              // Close has begun: new connections are closed at once
	waiting []*guarded        // not admitted yet, the oldest first
}

// newGate does not accept connections yet: the library calls Serve.
func newGate(l net.Listener, lim limits, log *slog.Logger) *gate {
	return &gate{limits: lim, listener: l, log: log, closed: make(chan struct{}), open: map[*guarded]bool{}}
}

// ID, Address, Protocol and Init implement the library's Listener.
func (g *gate) ID() string                { return "tcp" }
func (g *gate) Address() string           { return g.listener.Addr().String() }
func (g *gate) Protocol() string          { return "tcp" }
func (g *gate) Init(_ *slog.Logger) error { g.work.Add(1); return nil } // for Serve

// Serve accepts connections until Close.
func (g *gate) Serve(establish listeners.EstablishFn) {
	defer g.work.Done()
	for {
		conn, err := g.accept()
		if err != nil {
			return
		}
		c := g.guard(conn)
		g.work.Go(func() {
			defer c.Close()
			if err := establish(g.ID(), c); err != nil {
				g.log.Warn("embedded broker: connection ended", "err", err)
			}
		})
	}
}

// accept returns an error only after Close. Other errors, such as too many open files, are
// temporary, so it tries again.
func (g *gate) accept() (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		conn, err := g.listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		select {
		case <-g.closed:
			return nil, net.ErrClosed
		case <-time.After(pause):
		}
	}
}

// Close ends all connections, and returns when their goroutines have ended.
func (g *gate) Close(closeClients listeners.CloseFn) {
	g.once.Do(func() {
		close(g.closed)
		_ = g.listener.Close() // it was open
		closeClients(g.ID())   // sends DISCONNECT to clients of MQTT 5
		g.mu.Lock()
		all := slices.Collect(maps.Keys(g.open))
		g.shut = true
		g.mu.Unlock()
		for _, c := range all {
			c.Close()
		}
		g.work.Wait()
	})
}

// guard sets the deadline for the CONNECT of a connection. If too many connections wait
// already, it closes the oldest: a client needs only milliseconds for its CONNECT.
func (g *gate) guard(conn net.Conn) *guarded {
	// Nothing blocks under the lock: a connection is closed after unlocking.
	c := &guarded{Conn: conn, gate: g}
	_ = conn.SetDeadline(time.Now().Add(g.connect)) // the socket is open
	g.mu.Lock()
	g.open[c] = true
	g.waiting = append(g.waiting, c)
	var oldest *guarded
	if g.shut {
		oldest = c
	}
	if len(g.waiting) > g.pending {
		oldest = g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
	}
	g.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
	return c
}

// leave removes a connection from those that wait.
func (g *gate) leave(c *guarded) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, c); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
}

// guarded is one connection of a gate.
type guarded struct {
	net.Conn
	gate *gate

	mu       sync.Mutex // guards what follows
	admitted bool       // its CONNECT was accepted
	head     []byte     // the first bytes that it sent, until it is admitted
}

// admit removes the deadline of the CONNECT.
func (c *guarded) admit() {
	c.mu.Lock()
	c.admitted = true
	c.mu.Unlock()
	c.gate.leave(c)
	_ = c.Conn.SetDeadline(time.Time{}) // the library sets the keep-alive's before it reads
}

// Read checks the header of the CONNECT: the library allocates the length in it before it
// reads the packet.
func (c *guarded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.admitted || len(c.head) > 4 {
		return n, err
	}
	c.head = append(c.head, p[:min(n, 5-len(c.head))]...)
	if wrong := checkHead(c.head); wrong != nil {
		return 0, wrong
	}
	return n, err
}

// checkHead checks the fixed header of a CONNECT, which may be incomplete.
func checkHead(head []byte) error {
	if len(head) > 0 && head[0] != 0x10 {
		return errors.New("the first packet is not a CONNECT")
	}
	// The remaining length: seven bits a byte (MQTT 3.1.1, section 2.2.3).
	size := 0
	for i := 1; i < len(head); i++ {
		size |= int(head[i]&0x7f) << (7 * (i - 1))
		if head[i]&0x80 == 0 {
			break
		}
	}
	if size > maxConnect {
		return fmt.Errorf("a CONNECT of more than %d bytes", maxConnect)
	}
	return nil
}

// Write closes a connection whose peer does not read: otherwise the library would queue
// more and more messages in memory.
func (c *guarded) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.gate.write))
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Close()
	}
	return n, err
}

// SetDeadline is called by the library for the keep-alive. It sets only the read deadline,
// because each write has its own, and does nothing before the client is admitted.
func (c *guarded) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.admitted {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// Close closes the connection. It may be called more than once.
func (c *guarded) Close() error {
	c.gate.leave(c)
	c.gate.mu.Lock()
	delete(c.gate.open, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
