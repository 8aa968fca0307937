package uplink

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	mostInbound  = 256 << 10 // bytes of a packet from the broker; the library would allocate what it is told
	mostUnsent   = 64 << 10  // bytes that are gathered
	flushOnClose = time.Second

	packetConnack = 2 // MQTT 3.1.1, section 2.2.1
	packetSuback  = 9
)

// A wire is the socket as the MQTT library gets it. What the library writes
// packet by packet goes out in as few writes as the kernel is quick. What comes
// in is read in large pieces and looked at first: a length that would cost too
// much memory, and an answer that the library would stumble over, end the
// connection.
type wire struct {
	net.Conn
	limits limits
	failed func(error) // is told why the connection is lost

	in   *bufio.Reader
	left int           // bytes of the packet that is being read
	code atomic.Uint32 // of CONNACK
	open bool          // CONNACK was read

	mu     sync.Mutex
	out    []byte
	room   sync.Cond // there is less in out
	err    error     // nothing is written any more
	closed bool
	kick   chan struct{} // holds a token: there is something in out
	ended  chan struct{} // closed when everything is written that will be
}

// newWire starts to write; drop ends that.
func newWire(socket net.Conn, limits limits, failed func(error)) *wire {
	w := &wire{Conn: socket, limits: limits, failed: failed, in: bufio.NewReader(socket),
		kick: make(chan struct{}, 1), ended: make(chan struct{})}
	w.room.L = &w.mu
	go w.flush()
	return w
}

// Write gathers; an earlier failure is returned.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.out) >= mostUnsent && w.err == nil && !w.closed {
		w.room.Wait()
	}
	if w.closed && w.err == nil {
		w.err = net.ErrClosed
	}
	if w.err != nil {
		return 0, w.err
	}
	w.out = append(w.out, p...)
	w.wake()
	return len(p), nil
}

func (w *wire) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// flush writes what was gathered until the wire is closed or broken.
func (w *wire) flush() {
	defer close(w.ended)
	var spare []byte
	for range w.kick {
		w.mu.Lock()
		out, last := w.out, w.closed
		w.out = spare[:0]
		w.room.Broadcast()
		w.mu.Unlock()
		if err := w.put(out, last); err != nil {
			w.breakOff(err)
			return
		}
		if spare = out; last {
			return
		}
	}
}

func (w *wire) put(out []byte, last bool) error {
	if len(out) == 0 {
		return nil
	}
	wait := w.limits.write
	if last {
		wait = min(wait, flushOnClose)
	}
	w.Conn.SetWriteDeadline(time.Now().Add(wait))
	_, err := w.Conn.Write(out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the link has taken nothing for %v", wait)
	}
	return err
}

// breakOff ends the connection for a reason.
func (w *wire) breakOff(err error) {
	w.mu.Lock()
	w.err = err
	w.room.Broadcast()
	w.mu.Unlock()
	w.failed(err)
	w.Conn.Close()
}

// SetWriteDeadline is not the library's business: flush has its own.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline bounds reading.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// Close writes what was gathered, and closes the socket.
func (w *wire) Close() error {
	w.mu.Lock()
	w.closed = true
	w.room.Broadcast()
	w.mu.Unlock()
	w.wake()
	<-w.ended
	return w.Conn.Close()
}

// drop closes the socket as it is.
func (w *wire) drop() error {
	err := w.Conn.Close()
	w.Close()
	return err
}

// Read returns bytes of packets that were looked at.
func (w *wire) Read(p []byte) (int, error) {
	if w.open && w.in.Buffered() == 0 {
		w.Conn.SetReadDeadline(time.Now().Add(w.limits.silence))
	}
	if w.left == 0 {
		if err := w.header(); err != nil {
			return 0, w.unread(err)
		}
	}
	n, err := w.in.Read(p[:min(len(p), w.left)])
	w.left -= n
	if err != nil {
		return n, w.unread(err)
	}
	return n, nil
}

// unread says why nothing more can be read.
func (w *wire) unread(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return err // by us
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		w.failed(errBrokerClosed)
	case errors.Is(err, os.ErrDeadlineExceeded) && w.open:
		w.failed(fmt.Errorf("nothing heard from the broker for %v", w.limits.silence))
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.failed(fmt.Errorf("the broker has not answered CONNECT in %v", w.limits.connect))
	default:
		w.failed(err)
	}
	return err
}

// header looks at the packet that comes next. MQTT 3.1.1, section 2.2: a byte
// of type and flags, then the length in seven bits a byte, four at most.
func (w *wire) header() error {
	length := 0
	for n := 2; n <= 5; n++ {
		head, err := w.in.Peek(n)
		if err != nil {
			return err
		}
		last := head[n-1]
		length |= int(last&0x7f) << (7 * (n - 2))
		if last < 0x80 {
			w.left = n + length
			return w.check(head[0]>>4, length)
		}
	}
	return errors.New("the broker sends a packet whose length has no end")
}

// check refuses what the library must not see.
func (w *wire) check(kind byte, length int) error {
	switch {
	case length > mostInbound:
		return fmt.Errorf("the broker sends a packet of %d bytes: %d are taken at most", length, mostInbound)
	case kind == packetSuback && length != 3: // we subscribe to one topic at a time
		return fmt.Errorf("the broker sends a SUBACK of %d bytes", length)
	case kind != packetConnack || w.open:
		return nil
	case length != 2:
		return fmt.Errorf("the broker sends a CONNACK of %d bytes", length)
	}
	packet, err := w.in.Peek(4)
	if err != nil {
		return err
	}
	w.open = true
	w.code.Store(uint32(packet[3]))
	return nil
}
