package mqtt

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
)

// The packet IDs of the library count down on the wire (see mirrored), and those of flight
// up: no two packets in flight may have the same ID (MQTT 3.1.1, section 2.3.1). Where the two counters come near
// each other, that of flight jumps ahead.
const (
	aheadOfLibrary = 1 << 14 // the distance after a jump: a quarter of all IDs
	nearLibrary    = 1 << 12 // the minimum distance: more packets are never in flight
)

// errNotAnswered is the error of a token whose connection was lost.
var errNotAnswered = errors.New("the connection was lost before the broker acknowledged it")

// flight are the publications at QoS 1 that the broker has not acknowledged. The
// wire writes them itself and takes their PUBACKs out of the stream: through the
// library each would cost 40 allocations and pass five goroutines. The mutex of the
// outbox guards all fields.
type flight struct {
	next    uint16                  // the packet ID that is tried next
	library uint16                  // the last packet ID of the library, as it is on the wire
	waiting map[uint16]*publication // by packet ID
	over    bool                    // the connection is lost: nothing more is added
}

// A publication is the [Token] of a message that was put into the outbox.
type publication struct {
	box      *outbox // nil if it was answered from the start
	answered atomic.Bool
	err      error         // may be read once answered is set
	unheard  bool          // see Unheard; may be read once answered is set
	done     chan struct{} // made when it is asked for; guarded by box.mu
}

// closedChannel is what Done returns for what is answered.
var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done makes the channel at the first call, because it is not needed for the readings of a
// drain, see await.
func (p *publication) Done() <-chan struct{} {
	if p.box == nil {
		return closedChannel
	}
	p.box.mu.Lock()
	defer p.box.mu.Unlock()
	switch {
	case p.answered.Load():
		return closedChannel
	case p.done == nil:
		p.done = make(chan struct{})
	}
	return p.done
}

func (p *publication) Answered() bool { return p.answered.Load() }
func (p *publication) Error() error   { return p.err }
func (p *publication) Unheard() bool  { return p.unheard } // see the function

// completed returns the token of a message that is answered from the start: one at
// QoS 0, or one that was not written for err.
func completed(err error) *publication {
	p := &publication{err: err}
	p.answered.Store(true)
	return p
}

// sentAtMostOnce is the token of every message at QoS 0.
var sentAtMostOnce = completed(nil)

// add adds a publication, and returns its packet ID: one that is neither 0 nor in
// flight, and far from those of the library. The window of the session keeps the
// number of publications far below that of IDs, so there is a free one.
func (f *flight) add(p *publication) (id uint16) {
	if ahead := f.next - f.library; ahead < nearLibrary || ahead > 0xffff-nearLibrary {
		f.next = f.library + aheadOfLibrary
	}
	for id = f.next; id == 0 || f.waiting[id] != nil; id++ {
	}
	f.next = id + 1
	f.waiting[id] = p
	return id
}

// publish puts a message into the outbox as soon as there is room, and returns its
// token, see [Conn.Enqueue].
func (w *outbox) publish(m Message) Token {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.awaitRoomLocked(); err != nil {
		return completed(err)
	}
	var err error
	if m.AtMostOnce {
		if w.out, err = w.appendLocked(m, 0); err != nil {
			return completed(err)
		}
		return sentAtMostOnce
	}
	if w.flight.over {
		return completed(errNotAnswered)
	}
	p := &publication{box: w}
	id := w.flight.add(p)
	if w.out, err = w.appendLocked(m, id); err != nil {
		delete(w.flight.waiting, id)
		return completed(err)
	}
	return p
}

// appendLocked returns the outbox with a PUBLISH appended in the version of the
// connection. The caller holds mu.
func (w *outbox) appendLocked(m Message, id uint16) ([]byte, error) {
	if w.five != nil {
		return w.five.appendLocked(w.out, m, id)
	}
	return appendPublish(w.out, m, id), nil
}

// appendPublish appends a PUBLISH at QoS 1, or at QoS 0 if id is 0. MQTT 3.1.1,
// section 3.3. Its topic has at most 65,535 bytes.
func appendPublish(b []byte, m Message, id uint16) []byte {
	head, length := byte(packetPublish<<4), 2+len(m.Topic)+len(m.Payload)
	if m.Retain {
		head |= 1
	}
	if id != 0 {
		head, length = head|1<<1, length+2
	}
	b = binary.AppendUvarint(append(b, head), uint64(length)) // has the form of MQTT's remaining length
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Topic)))
	b = append(b, m.Topic...)
	if id != 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return append(b, m.Payload...)
}

// answered removes and returns the publication that a PUBACK acknowledges; nil if
// the broker acknowledges what was never sent, or again.
func (w *outbox) answered(id uint16) *publication {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.flight.waiting[id]
	delete(w.flight.waiting, id)
	return p
}

// completeAcked completes the acknowledged publications together: whoever waits for
// one of them finds all others completed, too. It is called before the reader waits
// for the socket, and before any packet that is not a PUBACK, so that the order of
// events is kept.
func (w *wire) completeAcked() {
	if len(w.acked) == 0 {
		return
	}
	w.mu.Lock()
	wake := false
	for i, p := range w.acked {
		wake = w.completeLocked(p, p.err) || wake
		w.acked[i] = nil
	}
	w.mu.Unlock()
	w.acked = w.acked[:0]
	if wake {
		signal(w.wake)
	}
}

// completeLocked completes a publication, and reports whether it is the awaited one.
// The caller holds mu, and puts a token into wake then.
func (w *outbox) completeLocked(p *publication, err error) (awaited bool) {
	p.err = err
	p.answered.Store(true)
	if p.done != nil {
		close(p.done)
	}
	if awaited = p == w.awaited; awaited {
		w.awaited = nil
	}
	return awaited
}

// await returns a channel that is closed, or gets a token, when a publication is
// answered. One goroutine may wait: each call ends the wait for what an earlier one
// was for.
func (w *outbox) await(p *publication) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.wake: // of an earlier call
	default:
	}
	if p.answered.Load() {
		return closedChannel
	}
	w.awaited = p
	return w.wake
}

// failAll fails what is in flight, and whatever is published at QoS 1 later. It is
// called once the connection is lost, and may be called again.
func (w *outbox) failAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flight.over = true
	for id, p := range w.flight.waiting {
		delete(w.flight.waiting, id)
		if w.completeLocked(p, errNotAnswered) {
			signal(w.wake)
		}
	}
	if w.five != nil {
		w.five.failRequestsLocked(w)
	}
}
