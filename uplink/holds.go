package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// holdRetry is the time between two probes of a held stream whose readings the broker
// drops. It is short because a probe does no harm and alarms may wait.
const holdRetry = time.Minute

// A hold is the state of a stream that the broker does not accept. Its readings are kept
// in order among the rejected items of the queue.
//
// If the broker acknowledges readings of the stream and drops them, the oldest kept
// reading is sent once a minute as a probe, while other streams go on. When a probe comes
// back, the hold is open: the kept readings are sent, and then the hold ends. If the
// broker closes the connection for the stream, it is tried alone: see [rejects].
type hold struct {
	closes bool         // the broker closes the connection for the stream
	open   bool         // the broker accepted a reading: the others are sent
	next   time.Time    // no probe before this time
	cursor queue.Cursor // position in the rejected items of all streams
	peeked []queue.Item // kept readings of the stream that were read and not sent yet
}

// rewind goes back to the oldest kept reading.
func (h *hold) rewind() {
	h.cursor.Rewind()
	h.peeked = nil
}

// holdStream holds a stream because the broker dropped a probe of it or refused a message
// with a reason code. sent is when that was sent.
func (t *retries) holdStream(stream, topic string, sent time.Time, why string) {
	h := t.link.rejects.held[stream]
	if h == nil {
		h = &hold{open: true}
		t.link.rejects.held[stream] = h
	}
	if h.open { // otherwise it was logged before
		t.logHeld(stream, topic, why)
		t.link.report("aside", map[string]any{"stream": stream, "held": true})
	}
	h.closes, h.open, h.next = false, false, sent.Add(holdRetry)
	h.rewind()
	t.health.changed()
}

// logHeld logs that a stream is held.
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

// acceptStream opens the hold of a stream, if it has one.
func (t *retries) acceptStream(stream string) {
	h := t.link.rejects.held[stream]
	if h == nil || h.open {
		return
	}
	t.link.log.Info("the broker accepts a stream again: the kept readings are sent", "stream", stream, "topic",
		t.link.topics.History(stream))
	h.open, h.next = true, time.Time{}
	h.rewind()
	t.health.changed()
}

// tryHeld sends one kept reading: a probe of a stream whose retry is due, or the next
// reading of a stream with an open hold. It reports whether it did.
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
		t.out.track(&sentMessage{Token: ackedToken{}, kind: kindLate, item: *it})
		return true
	case it != nil && it.Priority != sensors.Alarm && !t.link.maySend(it):
		return false
	case it != nil:
		if it.Priority != sensors.Alarm {
			t.link.pace.take()
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
	case h.open && !t.inProgress(stream):
		delete(t.link.rejects.held, stream)
		t.health.changed()
		return true // its readings in the backlog may be sent
	case !h.open: // nothing is kept yet; the next reading of the stream will be
		h.next = time.Now().Add(holdRetry)
	}
	return false
}

// nextKept returns the oldest kept reading of a stream that was not sent; nil if there is
// none.
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

// inProgress reports whether an item of the stream is in flight, or is acknowledged and
// waits for older items. Such an item may still become a kept reading.
func (t *retries) inProgress(stream string) bool {
	for i := range t.out.inflight.len() {
		f := t.out.inflight.at(i)
		if (f.kind == kindRetry || f.kind == kindDiverted || f.kind == kindLate) && f.item.Stream == stream {
			return true
		}
	}
	return t.acks.waits(stream)
}

// releaseKept acknowledges a rejected item to the backlog if it has arrived after a retry.
// It returns false if that is not known yet.
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
	return true // in all other cases it was dropped, and stays among the rejected items
}

// due returns when the next probe of a held stream is due; zero: there is none.
func (r *rejects) due(now time.Time) (due time.Time) {
	for _, h := range r.held {
		if !h.closes && !h.open && (due.IsZero() || h.next.Before(due)) {
			due = h.next
		}
	}
	return ifAfter(due, now)
}
