package mqtt

import (
	"encoding/binary"
	"errors"
)

// The library numbers its packets one by one, and so do we: no two in flight may have
// the same number. MQTT 3.1.1, section 2.3.1. Where the two come near, ours jump.
const (
	aheadOfLibrary = 1 << 14 // after a jump
	nearLibrary    = 1 << 12 // more than ever are in flight
)

var errNotAnswered = errors.New("the connection was lost before the broker acknowledged it")

// flight are the publications at QoS 1 that the broker has not acknowledged. The
// wire writes them itself and takes their answers out of the stream: by the library
// each would cost 40 allocations and pass five goroutines. The mutex of the wire
// guards all fields.
type flight struct {
	next    uint16 // the number that we try next
	library uint16 // the latest number that the library took
	waiting map[uint16]*publication
	over    bool // nothing is answered any more
}

// A publication is the token of a message that the wire has written.
type publication struct {
	done chan struct{}
	err  error // set before done is closed
}

func (p *publication) Done() <-chan struct{} { return p.done }
func (p *publication) Error() error          { return p.err }

// written is the token of a message that nobody acknowledges.
var written = func() *publication {
	p := &publication{done: make(chan struct{})}
	close(p.done)
	return p
}()

func failedPublication(err error) *publication {
	p := &publication{done: make(chan struct{}), err: err}
	close(p.done)
	return p
}

// add finds a free number for a publication.
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

// publish writes a message as soon as there is room, and returns its token. The
// payload is copied: it may be used again.
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
	b = binary.AppendUvarint(append(b, head), uint64(length)) // the same seven bits a byte
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Topic)))
	b = append(b, m.Topic...)
	if id != 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return append(b, m.Payload...)
}

// answered is the publication that a PUBACK acknowledges; nil: there is none, so the
// broker acknowledges what was never sent.
func (w *outbox) answered(id uint16) *publication {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.flight.waiting[id]
	delete(w.flight.waiting, id)
	return p
}

// completeAcked closes the tokens of what was acknowledged, the oldest last: whoever
// waits for that finds all others closed. It is called before the reader waits for
// more.
func (w *inbox) completeAcked() {
	for i := len(w.acked) - 1; i >= 0; i-- {
		close(w.acked[i].done)
		w.acked[i] = nil
	}
	w.acked = w.acked[:0]
}

// failAll fails what is in flight, and whatever is published later: the connection
// is lost.
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
