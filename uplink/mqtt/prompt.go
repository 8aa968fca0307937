package mqtt

import (
	"net"
	"syscall"
	"time"
)

const (
	// promptReads is for how many reads the kernel confirms at once what it got, at the
	// start and after each pause: as many as a session takes to begin.
	promptReads = 16
	// pause is how long nothing was read before reads are confirmed at once again.
	pause = time.Second
)

// A promptConn confirms what it reads at the start, and after a pause, without delay. A
// broker with Nagle's algorithm (Mosquitto by default) holds the next small packet back
// until the last one is confirmed, and the kernel waits 40 ms for something to send along: the
// answers to what a session begins with came in two portions. So did the PUBACKs of
// sensors that are read at one time: the late one wakes the processor once more, and
// has the Go runtime's monitor look every 20 µs for a while.
//
// It is for one goroutine that reads, as a connection is.
type promptConn struct {
	*net.TCPConn
	left int       // reads that are still confirmed at once
	last time.Time // when something was read last
}

// NetConn is the connection beneath.
func (c *promptConn) NetConn() net.Conn { return c.TCPConn }

func (c *promptConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	now := time.Now()
	if now.Sub(c.last) >= pause {
		c.left = promptReads
	}
	c.last = now
	if c.left > 0 && err == nil {
		c.left--
		c.confirm()
	}
	return n, err
}

// confirm sets TCP_QUICKACK, which the kernel forgets again (tcp(7)). That it fails
// costs 40 ms and no more.
func (c *promptConn) confirm() {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
