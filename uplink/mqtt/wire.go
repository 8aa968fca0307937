package mqtt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// MaxInbound is how many bytes a packet from the broker may have, without its fixed
// header. A longer one ends the connection: the library would allocate the length
// that the header has, up to 256 MiB, on a board with 512.
const MaxInbound = 256 << 10

const (
	maxUnsent    = 64 << 10    // bytes that wait to be written; Publish blocks above it
	maxPiece     = 4 << 10     // bytes that the kernel must accept within limits.Write
	flushOnClose = time.Second // for what waits to be written when the connection is closed
)

// A wire is the socket that the MQTT library uses. The library writes each packet
// separately; the wire collects packets while the kernel is busy, so that they share TCP
// segments. It reads in large pieces, and checks packets before the library reads them: see
// check. Publications at QoS 1 do not pass through the library: see flight.
//
// The library reads in one goroutine and writes in another; a third one, that of
// flush, writes to the socket.
type wire struct {
	net.Conn
	limits Limits
	failed func(error) // called with the reason when the connection is lost; more than once, from any goroutine

	outbox
	inbox
	direct syscall.RawConn // the socket, for writeNow; nil: there are layers above TCP, or it is none

	code   atomic.Uint32 // the return code of CONNACK; set after open
	open   atomic.Bool   // CONNACK was read
	pinged atomic.Bool   // a PINGREQ was sent that is not answered yet

	unreadable chan struct{} // closed when nothing more can be read
	stopped    sync.Once     // closes it
}

// An inbox is what was read from the socket. Only the library's reading goroutine
// uses it.
type inbox struct {
	in    *bufio.Reader
	left  int            // bytes of the current packet that the library has not read; 0: header comes next
	heard time.Time      // when bytes were read last; zero: limits.Silence is not in force yet
	acked []*publication // publications whose PUBACK was read and whose tokens are still open
}

// An outbox gathers what is written to the socket. Any goroutine may put something
// in. Only one at a time takes it out and writes: that of flush, or a caller of
// writeNow.
type outbox struct {
	mu       sync.Mutex      // guards all fields up to the next blank line
	out      []byte          // whole packets; longer than maxUnsent by one packet at most
	room     sync.Cond       // broadcast when out is taken, and when err or closed is set
	err      error           // why nothing can be written any more
	writing  bool            // what was taken out is being written: what is in out goes behind it
	spare    []byte          // for the next out of writeNow
	failure  error           // of a write by writeNow: flush ends the connection with it
	closed   bool            // flush writes what is in out, and ends
	expected map[uint16]byte // the type of the answer to each SUBSCRIBE and UNSUBSCRIBE without one, by packet ID
	flight   flight
	awaited  *publication // answering it puts a token into wake; nil: nobody waits

	five *wire5 // of MQTT 5; nil: the version is 3.1.1. Set before anything is written

	keepAlive time.Duration // of CONNECT; set before that is written, and when the broker wants a shorter one
	kick      chan struct{} // holds a token when flush should look: for something in out, or after close
	wake      chan struct{} // holds a token after the awaited publication was answered
	requested chan struct{} // holds a token after a SUBSCRIBE or UNSUBSCRIBE was put into out
	ended     chan struct{} // closed when flush has returned
}

// newWire starts the goroutine that writes; Close and drop end it.
func newWire(socket net.Conn, limits Limits, failed func(error)) *wire {
	w := &wire{Conn: socket, limits: limits, failed: failed, unreadable: make(chan struct{})}
	w.outbox = outbox{expected: map[uint16]byte{}, flight: flight{next: aheadOfLibrary,
		waiting: map[uint16]*publication{}},
		kick: make(chan struct{}, 1), wake: make(chan struct{}, 1), requested: make(chan struct{}, 1),
		ended: make(chan struct{})}
	w.in = bufio.NewReader(idleTimeoutReader{w})
	w.room.L = &w.mu
	w.direct = rawOf(socket)
	go w.flush()
	return w
}

// Write takes a whole packet from the library. It blocks while the outbox is full,
// and returns the error of an earlier write to the socket.
func (w *wire) Write(p []byte) (int, error) { return w.queuePacket(p) }

// queuePacket puts a packet of the library's into the outbox, and notes which answer it
// expects.
func (w *outbox) queuePacket(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.awaitRoomLocked(); err != nil {
		return 0, err
	}
	w.out = append(w.out, p...)
	packet := w.out[len(w.out)-len(p):]
	setKeepAlive(packet, w.keepAlive)
	if at, answer := expectedAnswer(packet); answer != 0 {
		id := mirrored(binary.BigEndian.Uint16(packet[at:]))
		binary.BigEndian.PutUint16(packet[at:], id)
		w.expected[id] = answer
		w.flight.library = id
		signal(w.requested)
	}
	signal(w.kick)
	return len(p), nil
}

// awaitRoomLocked waits until less than maxUnsent bytes are in the outbox. It
// returns why nothing can be written any more. The caller holds mu, which is
// unlocked while it waits.
func (w *outbox) awaitRoomLocked() error {
	for len(w.out) >= maxUnsent && w.err == nil && !w.closed {
		signal(w.kick)
		w.room.Wait()
	}
	if w.closed && w.err == nil {
		w.err = net.ErrClosed
	}
	return w.err
}

// take returns what was gathered, for flush to write, and gives the outbox another
// buffer, whose content is dropped. last says that the outbox is closed: it stays
// empty. err is that of a write by writeNow. Nothing is taken while another goroutine
// writes: it gives flush another token.
func (w *outbox) take(spare []byte) (out []byte, last bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing {
		return spare[:0], false, nil
	}
	out, w.out = w.out, spare[:0]
	w.writing = len(out) > 0
	w.room.Broadcast()
	return out, w.closed, w.failure
}

// written notes that what was taken is with the kernel.
func (w *outbox) written() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = false
}

// fail makes later writes, and those that wait for room, return an error.
func (w *outbox) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.room.Broadcast()
}

// close makes flush write what was gathered and return. Later writes fail.
func (w *outbox) close() {
	w.mu.Lock()
	w.closed = true
	w.room.Broadcast()
	w.mu.Unlock()
	signal(w.kick)
}

// signal puts a token into a channel that holds one; it never blocks.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flush writes what was gathered until the outbox is closed or a write fails. Two
// buffers take turns: one is filled while the other is written.
func (w *wire) flush() {
	defer close(w.ended)
	var spare []byte
	for range w.kick {
		out, last, err := w.take(spare)
		if err == nil {
			err = w.put(out, last)
		}
		if err != nil {
			w.breakOff(err)
			return
		}
		if len(out) > 0 {
			w.written()
		}
		if spare = out; last {
			return
		}
	}
}

// put writes to the socket in pieces of maxPiece, each with its own deadline, so
// that a slow link is not taken for a dead one. The last write is one piece, and
// has flushOnClose at most.
func (w *wire) put(out []byte, last bool) error {
	wait, size := w.limits.Write, maxPiece
	if last {
		wait, size = min(wait, flushOnClose), max(len(out), 1)
	}
	for piece := range slices.Chunk(out, size) {
		w.Conn.SetWriteDeadline(time.Now().Add(wait))
		_, err := w.Conn.Write(piece)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("the link has not taken %d bytes in %v", len(piece), wait)
		}
		if err != nil {
			return err
		}
	}
	if len(out) > 0 {
		w.Conn.SetWriteDeadline(time.Time{}) // writeNow has none
	}
	return nil
}

// breakOff ends the connection because a write failed.
//
// If the other end has reset the connection, what it sent before may still be
// unread: the reason (a page of HTTP, an alert of TLS), or acknowledgements of what
// is in flight. That is read before the socket is closed, for flushOnClose at most,
// and failed is called by the reader then.
func (w *wire) breakOff(err error) {
	if IsReset(err) {
		select {
		case <-w.unreadable:
		case <-time.After(flushOnClose):
		}
		err = w.early(err)
	}
	w.fail(err)
	w.failed(err)
	w.Conn.Close()
}

// SetWriteDeadline ignores the library's deadline for a packet: put sets one for
// each piece.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the deadline for reading alone, see SetWriteDeadline.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// Close writes what was gathered, for flushOnClose at most, and closes the socket.
// It may be called more than once.
func (w *wire) Close() error {
	w.outbox.close()
	<-w.ended
	return w.Conn.Close()
}

// drop closes the socket below TLS and WebSocket, and drops what was gathered. TLS
// would wait up to 5 s to write its close_notify if the kernel accepts nothing more.
func (w *wire) drop() error {
	bare := w.Conn
	for {
		layer, ok := bare.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		bare = layer.NetConn()
	}
	err := bare.Close()
	w.Close()
	return err
}

// Read returns bytes of packets that were checked. The library calls it in one
// goroutine.
func (w *wire) Read(p []byte) (int, error) {
	for w.left == 0 {
		if err := w.header(); err != nil {
			w.completeAcked()
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

// An idleTimeoutReader reads from the socket. After CONNACK each read has
// limits.Silence; before, the deadline that the library has set counts, which is
// for all of CONNACK.
type idleTimeoutReader struct{ *wire }

func (w idleTimeoutReader) Read(p []byte) (int, error) {
	switch {
	case !w.open.Load():
		return w.Conn.Read(p)
	case w.direct == nil: // a WebSocket cannot be read any more after a time-out
		w.Conn.SetReadDeadline(time.Now().Add(w.limits.Silence))
		return w.Conn.Read(p)
	}
	return w.readUntilSilent(p)
}

// readUntilSilent reads from a socket whose deadline is moved only when it passes: to
// move it for each read is work for the runtime's timers.
func (w *wire) readUntilSilent(p []byte) (int, error) {
	if w.heard.IsZero() {
		w.heard = time.Now()
		w.Conn.SetReadDeadline(w.heard.Add(w.limits.Silence))
	}
	for {
		n, err := w.Conn.Read(p)
		if n > 0 {
			w.heard = time.Now()
			return n, err
		}
		until := w.heard.Add(w.limits.Silence)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(until) {
			return 0, err
		}
		w.Conn.SetReadDeadline(until)
	}
}

// unread ends the connection because a read failed: it calls failed with the reason
// for a person, and returns the error for the library.
func (w *wire) unread(err error) error {
	defer w.stopped.Do(func() { close(w.unreadable) })
	switch {
	case errors.Is(err, net.ErrClosed):
		return err // closed by this end: whoever did so has called failed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		w.failed(w.early(ErrBrokerClosed))
	case errors.Is(err, os.ErrDeadlineExceeded) && w.open.Load():
		w.failed(fmt.Errorf("nothing heard from the broker for %v", w.limits.Silence))
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.failed(&unansweredError{err: fmt.Errorf("the broker has not answered CONNECT in %v", w.limits.Connect),
			silent: true})
	case IsReset(err):
		w.failed(w.early(err))
	default:
		w.failed(err)
	}
	return err
}

// early wraps the reason of a connection's end in an unansweredError if CONNECT was
// not answered.
func (w *wire) early(err error) error {
	if w.open.Load() {
		return err
	}
	return &unansweredError{err: err}
}
