package mqtt

import (
	"encoding/binary"
	"errors"
)

// The library counts its packet IDs up, and so does flight: no two packets in flight
// may have the same ID (MQTT 3.1.1, section 2.3.1). Where the two counters come near
// each other, that of flight jumps ahead.
const (
	aheadOfLibrary = 1 << 14 // the distance after a jump: a quarter of all IDs
	nearLibrary    = 1 << 12 // the least distance: more than packets are ever in flight
)

// errNotAnswered is the error of a token whose connection was lost.
var errNotAnswered = errors.New("the connection was lost before the broker acknowledged it")

// flight are the publications at QoS 1 that the broker has not acknowledged. The
// wire writes them itself and takes their PUBACKs out of the stream: through the
// library each would cost 40 allocations and pass five goroutines. The mutex of the
// outbox guards all fields.
type flight struct {
	next    uint16                  // the packet ID that is tried next
	library uint16                  // the last packet ID that the library has used
	waiting map[uint16]*publication // by packet ID
	over    bool                    // the connection is lost: nothing more is added
}

// A publication is the [Token] of a message that was put into the outbox.
type publication struct {
	done chan struct{}
	err  error // may be read after done is closed
}

func (p *publication) Done() <-chan struct{} { return p.done }
func (p *publication) Error() error          { return p.err }

// written is the token of every message at QoS 0: its done is closed.
var written = func() *publication {
	p := &publication{done: make(chan struct{})}
	close(p.done)
	return p
}()

// failedPublication returns the token of a message that was not written.
func failedPublication(err error) *publication {
	p := &publication{done: make(chan struct{}), err: err}
	close(p.done)
	return p
}

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
// token, see [Conn.Publish].
func (w *outbox) publish(m Message) Token {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.awaitRoomLocked(); err != nil {
		return failedPublication(err)
	}
	if m.AtMostOnce {
		w.out = appendPublish(w.out, m, 0)
		signal(w.kick)
		return written
	}
	if w.flight.over {
		return failedPublication(errNotAnswered)
	}
	p := &publication{done: make(chan struct{})}
	w.out = appendPublish(w.out, m, w.flight.add(p))
	signal(w.kick)
	return p
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

// completeAcked closes the tokens of acknowledged publications, the oldest last: a
// session that waits for the oldest wakes up once and finds all others closed, too.
// It is called before the reader waits for the socket, and before any packet that is
// not a PUBACK, so that the order of events is kept.
func (w *inbox) completeAcked() {
	for i := len(w.acked) - 1; i >= 0; i-- {
		close(w.acked[i].done)
		w.acked[i] = nil
	}
	w.acked = w.acked[:0]
}

// failAll fails what is in flight, and whatever is published at QoS 1 later. It is
// called once the connection is lost, and may be called again.
func (w *outbox) failAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flight.over = true
	for id, p := range w.flight.waiting {
		delete(w.flight.waiting, id)
		p.err = errNotAnswered
		close(p.done)
	}
}
