package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// maxUnreleased bounds what the broker has acknowledged of a lane and what waits
// for the proof that it arrived.
const maxUnreleased = 1024

// released holds what may leave the backlog, in the order of its lane, until it
// is known to have arrived. What is rejected waits in the same line: the backlog
// takes nothing out of the middle of a lane.
type released struct {
	lanes [2]fifo[outcome] // by sensors.Priority
	kept  fifo[outcome]    // what was rejected once and sent again: in no order
	batch []queue.Item     // for one call of Ack
}

// An outcome is what became of an item.
type outcome struct {
	item   queue.Item
	sent   time.Time
	reject bool // it was not sent: the broker does not take it
}

func (r *released) push(o outcome) {
	if o.item.IsRejected() {
		r.kept.push(o)
		return
	}
	r.lanes[o.item.Priority].push(o)
}

// lists are all that waits, alarms first.
func (r *released) lists() [3]*fifo[outcome] {
	return [...]*fifo[outcome]{&r.lanes[sensors.Alarm], &r.lanes[sensors.Routine], &r.kept}
}

func (r *released) len() int { return r.lanes[0].len() + r.lanes[1].len() }

func (r *released) full(p sensors.Priority) bool { return r.lanes[p].len() >= maxUnreleased }

// waits says that something of a stream is in the line.
func (r *released) waits(stream string) bool {
	for _, l := range r.lists() {
		for i := range l.len() {
			if l.at(i).item.Stream == stream {
				return true
			}
		}
	}
	return false
}

// latest is the newest reading of a stream that was sent and waits in the line; nil
// if there is none.
func (r *released) latest(stream string) *queue.Item {
	for l := range r.lanes {
		for i := r.lanes[l].len() - 1; i >= 0; i-- {
			if o := r.lanes[l].at(i); o.item.Stream == stream && !o.reject {
				return &o.item
			}
		}
	}
	return nil
}

func (r *released) forget() { *r = released{batch: r.batch[:0]} }

// ack tells the backlog what has arrived, and what the broker rejects.
func (s *session) ack() error {
	if s.held != "" {
		s.released.forget()
	}
	if !s.acksProven() {
		return nil
	}
	s.rival.born = s.rival.born || s.birthAcked
	if err := s.checkProbes(); err != nil {
		return err
	}
	for _, list := range s.released.lists() {
		if err := s.release(list); err != nil {
			return err
		}
	}
	return s.flushAcks()
}

// release takes as much of a line as is decided.
func (s *session) release(list *fifo[outcome]) error {
	for list.len() > 0 {
		o := list.front()
		switch held := s.rejects.held[o.item.Stream] != nil; {
		case o.item.IsRejected():
			if !s.releaseKept(o) {
				return nil
			}
		case o.reject || held:
			if err := s.reject(&o.item); err != nil {
				return err
			}
		case !s.delivered(o.item.Stream):
			s.probeHead(o)
			return nil
		default:
			s.proofs.of(o.item.Stream).note(&o.item)
			s.released.batch = append(s.released.batch, o.item)
		}
		list.pop()
	}
	return nil
}

// delivered says that an acknowledgement means that a reading has arrived.
func (s *session) delivered(stream string) bool { return !s.proving() || s.proofs.proven(stream) }

// probeHead sends the head of a line once more as a probe, if its stream is
// unproven and has none: the line waits for it.
func (s *session) probeHead(o *outcome) {
	if s.proofs.of(o.item.Stream).probe == nil && s.mayProbe() {
		s.sendProbe(o.item.Stream, s.message(&o.item), sentMessage{kind: kindProbe, item: o.item}, false)
	}
}

func (s *session) flushAcks() error {
	if len(s.released.batch) == 0 {
		return nil
	}
	err := s.backlog.Ack(s.released.batch)
	clear(s.released.batch)
	s.released.batch = s.released.batch[:0]
	return err
}

// reject moves an item out of its lane, behind all before it. What is rejected
// alone is declared; what is held with its stream comes later.
func (s *session) reject(it *queue.Item) error {
	if err := s.flushAcks(); err != nil {
		return err
	}
	if err := s.backlog.Reject(*it, s.rejects.held[it.Stream] == nil); err != nil {
		return err
	}
	delete(s.rejects.poison, msgIDOf(it))
	return nil
}
