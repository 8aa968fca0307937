package mqtt

import (
	"net"
	"syscall"
)

// promptReads is for how many reads of a connection the kernel confirms at once what
// it got: as many as a session takes to begin.
const promptReads = 16

// A promptConn confirms what it reads at the start without delay. A broker with
// Nagle's algorithm (Mosquitto by default) holds the next small packet back until the
// last one is confirmed, and the kernel waits 40 ms for something to send along: the
// answers to what a session begins with came in two portions.
//
// It is for one goroutine that reads, as a connection is.
type promptConn struct {
	*net.TCPConn
	left int // reads that are still confirmed at once
}

// NetConn is the connection beneath.
func (c *promptConn) NetConn() net.Conn { return c.TCPConn }

func (c *promptConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
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
