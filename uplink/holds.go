package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// retryHeld is how long a stream is left alone whose readings the broker drops.
// That costs nobody anything, and alarms may wait.
const holdRetry = time.Minute

// A hold is a stream that the broker does not take: what it made is kept among
// the rejects, in order.
//
// One whose readings the broker acknowledges and drops is tried once a minute with
// the oldest that is kept, as a probe, beside all others. When that comes back the
// hold is open: what is kept goes out, and when nothing is left the stream is not
// held any more. One for which the broker closes the connection is tried alone: see
// [rejects].
type hold struct {
	closes bool // the broker closes the connection for it
	open   bool // one was taken: the others follow
	next   time.Time
	cursor queue.Cursor // through what is kept, of all streams
	peeked []queue.Item // of the stream, beyond what was sent
}

// rewind goes back to the oldest that is kept.
func (h *hold) rewind() {
	h.cursor.Rewind()
	h.peeked = nil
}

// holdStream holds a stream of which the broker dropped a probe, or refused a message.
// sent is when that was sent.
func (t *retries) holdStream(stream, topic string, sent time.Time, why string) {
	h := t.link.rejects.held[stream]
	if h == nil {
		h = &hold{open: true}
		t.link.rejects.held[stream] = h
	}
	if h.open { // else the log was told
		t.logHeld(stream, topic, why)
		t.link.report("aside", map[string]any{"stream": stream, "held": true})
	}
	h.closes, h.open, h.next = false, false, sent.Add(holdRetry)
	h.rewind()
	t.health.changed()
}

// logHeld tells the log that a stream is held.
func (t *retries) logHeld(stream, topic, why string) {
	if t.out.hasReasonCodes {
		t.link.log.Error("a stream is held: the broker refuses its readings", "stream", stream, "topic", topic, "why",
			why, "mend", "let the access list allow "+t.link.opt.ClientID+" to write "+topic)
		return
	}
	t.link.log.Error("a stream is held: the broker acknowledges its readings and does not forward them",
		"stream", stream, "topic", topic, "why", why,
		"mend", "let the access list allow "+t.link.opt.ClientID+" to write and read "+topic+
			", or set mqtt.prove_publish: false if it may not read")
}

// acceptStream lets what is kept of a stream go, if it is held.
func (t *retries) acceptStream(stream string) {
	h := t.link.rejects.held[stream]
	if h == nil || h.open {
		return
	}
	t.link.log.Info("the broker takes a stream again: what was kept goes out", "stream", stream, "topic",
		t.link.topics.History(stream))
	h.open, h.next = true, time.Time{}
	h.rewind()
	t.health.changed()
}

// tryHeld sends the oldest reading that is kept of a stream whose time has come,
// or the next one of a stream that is taken again.
func (t *retries) tryHeld() bool {
	if !t.canary.acksProven() {
		return false
	}
	for stream, h := range t.link.rejects.held {
		if h.closes && !h.open || time.Now().Before(h.next) || t.link.proofs.of(stream).probe != nil {
			continue
		}
		if t.sendKept(stream, h) {
			return true
		}
	}
	return false
}

func (t *retries) sendKept(stream string, h *hold) bool {
	it, err := t.nextKept(stream, h)
	switch {
	case err != nil:
		t.link.log.Error("what is kept of a stream cannot be read", "stream", stream, "err", err, "retry_in", holdRetry)
		h.next = time.Now().Add(holdRetry)
	case it != nil && h.open && t.link.tooLate(it):
		h.peeked = h.peeked[1:]
		t.out.track(&sentMessage{Token: arrived{}, kind: kindLate, item: *it})
		return true
	case it != nil && it.Priority != sensors.Alarm && !t.link.mayGo(it):
		return false
	case it != nil:
		if it.Priority != sensors.Alarm {
			t.link.pace.pass()
		}
		m, f := t.history.message(it), sentMessage{kind: kindRetry, item: *it}
		h.peeked = h.peeked[1:]
		probes := !h.open || !t.link.proofs.proven(stream) || t.probes.mayProbe() && t.link.proofs.due(stream,
			time.Now())
		if t.probes.proving() && probes {
			t.probes.send(stream, m, f, true)
		} else {
			t.out.publish(m, &f)
		}
		return true
	case h.open && !t.underWay(stream):
		delete(t.link.rejects.held, stream)
		t.health.changed()
		return true // what waits of it may go
	case !h.open: // nothing is kept: its next reading will be
		h.next = time.Now().Add(holdRetry)
	}
	return false
}

// nextKept is the oldest item that is kept of a stream and was not sent; nil if
// there is none.
func (t *retries) nextKept(stream string, h *hold) (*queue.Item, error) {
	for len(h.peeked) == 0 {
		items, err := t.link.backlog.Rejected(&h.cursor, 64)
		if err != nil || len(items) == 0 {
			return nil, err
		}
		for i := range items {
			h.cursor.Advance(items[i])
			if it := &items[i]; it.Stream == stream && !it.Declared() {
				h.peeked = append(h.peeked, *it)
			}
		}
	}
	return &h.peeked[0], nil
}

// underWay says that something of a stream is in flight, or waits for what is
// before it: it may still be rejected, or come back from there.
func (t *retries) underWay(stream string) bool {
	for i := range t.out.inflight.len() {
		f := t.out.inflight.at(i)
		if (f.kind == kindRetry || f.kind == kindDiverted || f.kind == kindLate) && f.item.Stream == stream {
			return true
		}
	}
	return t.acks.waits(stream)
}

// releaseKept takes an item that was rejected before out of the backlog, if it
// has arrived. It reports false if that is not known yet.
func (t *retries) releaseKept(o *outcome) bool {
	stream := o.item.Stream
	h := t.link.rejects.held[stream]
	switch {
	case o.item.Declared():
		t.acks.batch = append(t.acks.batch, o.item)
	case h != nil && h.open && t.acks.delivered(stream):
		t.link.proofs.of(stream).note(&o.item)
		t.acks.batch = append(t.acks.batch, o.item)
	case h != nil && t.link.proofs.of(stream).probe != nil:
		return false
	}
	return true // else it was dropped, and is kept
}

// due is when the next stream is to be tried; zero: there is none.
func (r *rejects) due(now time.Time) (due time.Time) {
	for _, h := range r.held {
		if !h.closes && !h.open && (due.IsZero() || h.next.Before(due)) {
			due = h.next
		}
	}
	return ifAfter(due, now)
}
