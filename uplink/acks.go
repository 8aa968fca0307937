package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// maxUnreleased bounds what the broker has acknowledged of a lane and what waits
// for the proof that it arrived.
const maxUnreleased = 1024

// acks hold what may leave the backlog, in the order of its lane, until it is
// known to have arrived. What is rejected waits in the same line: the backlog
// takes nothing out of the middle of a lane. All fields belong to the goroutine
// of the session.
type acks struct {
	link    *Link
	canary  *canary
	probes  *prober
	retries *retries
	history *history

	lanes  [2]fifo[outcome] // by sensors.Priority
	kept   fifo[outcome]    // what was rejected once and sent again: in no order
	batch  []queue.Item     // for one call of Ack
	unsent int              // of batch, what was not sent
}

// An outcome is what became of an item.
type outcome struct {
	item   queue.Item
	sent   time.Time
	reject bool // it was not sent: the broker does not take it
	late   bool // it was not sent: see Link.tooLate
}

func (k *acks) push(o *outcome) {
	if o.item.IsRejected() {
		k.kept.push(o)
		return
	}
	k.lanes[o.item.Priority].push(o)
}

// lists are all that waits, alarms first.
func (k *acks) lists() [3]*fifo[outcome] {
	return [...]*fifo[outcome]{&k.lanes[sensors.Alarm], &k.lanes[sensors.Routine], &k.kept}
}

func (k *acks) len() int { return k.lanes[0].len() + k.lanes[1].len() }

func (k *acks) full(p sensors.Priority) bool { return k.lanes[p].len() >= maxUnreleased }

// waits reports whether an item of the stream is in a list.
func (k *acks) waits(stream string) bool {
	for _, l := range k.lists() {
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
func (k *acks) latest(stream string) *queue.Item {
	for l := range k.lanes {
		for i := k.lanes[l].len() - 1; i >= 0; i-- {
			if o := k.lanes[l].at(i); o.item.Stream == stream && !o.reject && !o.late {
				return &o.item
			}
		}
	}
	return nil
}

// forget drops all that waits: it stays in the backlog.
func (k *acks) forget() {
	k.lanes, k.kept, k.batch, k.unsent = [2]fifo[outcome]{}, fifo[outcome]{}, k.batch[:0], 0
}

// flushDecided acknowledges to the backlog the items that have arrived, and rejects those
// that the broker rejected.
func (k *acks) flushDecided() error {
	for _, list := range k.lists() {
		if err := k.release(list); err != nil {
			return err
		}
	}
	return k.flush()
}

// release takes as much of a line as is decided.
func (k *acks) release(list *fifo[outcome]) error {
	for list.len() > 0 {
		o := list.front()
		switch held := k.link.rejects.held[o.item.Stream] != nil; {
		case o.late: // it counts as delivered, whatever becomes of its stream
			k.skip(&o.item)
		case o.item.IsRejected():
			if !k.retries.releaseKept(o) {
				return nil
			}
		case o.reject || held:
			if err := k.reject(&o.item); err != nil {
				return err
			}
		case !k.delivered(o.item.Stream):
			k.probeHead(o)
			return nil
		default:
			k.link.proofs.of(o.item.Stream).note(&o.item)
			k.batch = append(k.batch, o.item)
		}
		list.pop()
	}
	return nil
}

// delivered reports whether an acknowledgement of the stream means that a reading has arrived.
func (k *acks) delivered(stream string) bool {
	return !k.probes.proving() || k.link.proofs.proven(stream)
}

// probeHead sends the head of a line once more as a probe, if its stream is
// unproven and has none: the line waits for it.
func (k *acks) probeHead(o *outcome) {
	if k.link.proofs.of(o.item.Stream).probe == nil && k.probes.mayProbe() {
		k.probes.send(o.item.Stream, k.history.message(&o.item), sentMessage{kind: kindProbe, item: o.item}, false)
	}
}

// skip lets the backlog remove a reading that was not sent.
func (k *acks) skip(it *queue.Item) {
	k.link.skips.add(it, k.link.opt.Clock.Resolve(it.At).Unix)
	k.batch, k.unsent = append(k.batch, *it), k.unsent+1
}

func (k *acks) flush() error {
	if len(k.batch) == 0 {
		return nil
	}
	err := k.link.backlog.Ack(k.batch)
	k.link.board.delivered(len(k.batch)-k.unsent, k.unsent)
	clear(k.batch)
	k.batch, k.unsent = k.batch[:0], 0
	return err
}

// reject moves an item out of its lane, behind all before it. What is rejected
// alone is declared; what is held with its stream comes later.
func (k *acks) reject(it *queue.Item) error {
	if err := k.flush(); err != nil {
		return err
	}
	if err := k.link.backlog.Reject(*it, k.link.rejects.held[it.Stream] == nil); err != nil {
		return err
	}
	delete(k.link.rejects.poison, msgIDOf(it))
	return nil
}
