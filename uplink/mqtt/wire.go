package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	MaxInbound   = 256 << 10 // bytes of a packet from the broker; the library would allocate what it is told
	maxUnsent    = 64 << 10  // bytes that are gathered
	maxPiece     = 4 << 10   // bytes that a link must take within limits.Write
	flushOnClose = time.Second
)

// A wire is the socket as the MQTT library gets it. What the library writes
// packet by packet goes out in as few writes as the kernel is quick. What comes
// in is read in large pieces and looked at first: a length that would cost too
// much memory, and an answer that the library would stumble over, end the
// connection. Publications bypass the library: see flight.
type wire struct {
	net.Conn
	limits Limits
	failed func(error) // is told why the connection is lost

	outbox
	inbox

	code atomic.Uint32 // of CONNACK
	open atomic.Bool   // CONNACK was read

	unreadable chan struct{} // closed when nothing more can be read
	stopped    sync.Once     // closes it
}

// An inbox is what was read from the socket. It belongs to the goroutine that reads,
// which is the library's.
type inbox struct {
	in    *bufio.Reader
	left  int            // bytes of the packet that is being read
	acked []*publication // acknowledged, and their tokens not yet closed
}

// An outbox gathers what goes to the socket. Any goroutine may put something in;
// that of flush alone takes it out.
type outbox struct {
	mu     sync.Mutex // guards all but the channels
	out    []byte
	room   sync.Cond // there is less in out
	err    error     // nothing is written any more
	closed bool
	asked  map[uint16]byte // type of the answer to each SUBSCRIBE and UNSUBSCRIBE that has none yet
	flight flight

	kick  chan struct{} // holds a token: there is something in out
	asks  chan struct{} // holds a token: a SUBSCRIBE or UNSUBSCRIBE is in out, or was
	ended chan struct{} // closed when everything is written that will be
}

// newWire starts to write; drop ends that.
func newWire(socket net.Conn, limits Limits, failed func(error)) *wire {
	w := &wire{Conn: socket, limits: limits, failed: failed, unreadable: make(chan struct{})}
	w.outbox = outbox{asked: map[uint16]byte{}, flight: flight{next: aheadOfLibrary,
		waiting: map[uint16]*publication{}},
		kick: make(chan struct{}, 1), asks: make(chan struct{}, 1), ended: make(chan struct{})}
	w.in = bufio.NewReader(idleTimeoutReader{w})
	w.room.L = &w.mu
	go w.flush()
	return w
}

// Write gathers what the library sends; an earlier failure is returned.
func (w *wire) Write(p []byte) (int, error) { return w.gather(p) }

// gather takes a packet of the library's.
func (w *outbox) gather(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.awaitRoomLocked(); err != nil {
		return 0, err
	}
	if id, answer := expectedAnswer(p); answer != 0 {
		w.asked[id] = answer
		w.flight.library = id
		signal(w.asks)
	}
	w.out = append(w.out, p...)
	signal(w.kick)
	return len(p), nil
}

// awaitRoomLocked waits until there is room for what is written next. It returns an
// earlier failure.
func (w *outbox) awaitRoomLocked() error {
	for len(w.out) >= maxUnsent && w.err == nil && !w.closed {
		w.room.Wait()
	}
	if w.closed && w.err == nil {
		w.err = net.ErrClosed
	}
	return w.err
}

// take takes out what was gathered, and gives the outbox another buffer. last says
// that nothing comes any more.
func (w *outbox) take(spare []byte) (out []byte, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, w.out = w.out, spare[:0]
	w.room.Broadcast()
	return out, w.closed
}

// fail refuses what is written from now on.
func (w *outbox) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.room.Broadcast()
}

// close lets flush write what was gathered and end.
func (w *outbox) close() {
	w.mu.Lock()
	w.closed = true
	w.room.Broadcast()
	w.mu.Unlock()
	signal(w.kick)
}

// signal puts a token into a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flush writes what was gathered until the wire is closed or broken.
func (w *wire) flush() {
	defer close(w.ended)
	var spare []byte
	for range w.kick {
		out, last := w.take(spare)
		if err := w.put(out, last); err != nil {
			w.breakOff(err)
			return
		}
		if spare = out; last {
			return
		}
	}
}

// put writes in pieces, so that a link that is slow is not taken for a dead one.
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
	return nil
}

// breakOff ends the connection for a reason.
func (w *wire) breakOff(err error) {
	if IsReset(err) { // what came before may say why, or answer what is in flight: it is read first
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

// SetWriteDeadline is not the library's business: flush has its own.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline bounds reading.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// Close writes what was gathered, and closes the socket.
func (w *wire) Close() error {
	w.outbox.close()
	<-w.ended
	return w.Conn.Close()
}

// drop closes the socket as it is. Without a word of the layers above TCP: TLS
// would wait 5 s to say that it closes, if the kernel takes nothing more.
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

// Read returns bytes of packets that were looked at.
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

// patient reads from the socket. Once the connection is open each read waits
// for so long; before that, the library's deadline is for all of CONNACK.
type idleTimeoutReader struct{ *wire }

func (w idleTimeoutReader) Read(p []byte) (int, error) {
	if w.open.Load() {
		w.Conn.SetReadDeadline(time.Now().Add(w.limits.Silence))
	}
	return w.Conn.Read(p)
}

// unread says why nothing more can be read.
func (w *wire) unread(err error) error {
	defer w.stopped.Do(func() { close(w.unreadable) })
	switch {
	case errors.Is(err, net.ErrClosed):
		return err // by us
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

// early marks the end of a connection whose CONNECT was not answered.
func (w *wire) early(err error) error {
	if w.open.Load() {
		return err
	}
	return &unansweredError{err: err}
}
