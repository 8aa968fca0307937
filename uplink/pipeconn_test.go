package uplink

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// A pipeListener is a server in memory: what dial returns is one end of a pipe, and
// Accept returns the other.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once // closes it
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial connects, to whatever address.
func (l *pipeListener) dial(ctx context.Context, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return &pipeEnd{Conn: near}, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A pipeEnd has the errors of a socket.
type pipeEnd struct {
	net.Conn
	closed atomic.Bool
}

func (e *pipeEnd) Close() error {
	e.closed.Store(true)
	return e.Conn.Close()
}

func (e *pipeEnd) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	return n, e.asSocket(err)
}

func (e *pipeEnd) Write(p []byte) (int, error) {
	n, err := e.Conn.Write(p)
	return n, e.asSocket(err)
}

func (e *pipeEnd) asSocket(err error) error {
	switch {
	case !errors.Is(err, io.ErrClosedPipe):
		return err
	case e.closed.Load():
		return net.ErrClosed
	}
	return syscall.EPIPE
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1883} }
