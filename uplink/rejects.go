package uplink

import (
	"maps"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// rejectRetry is how long messages for which the broker closed the connection are not
// sent again. If it closes for a second message of the same stream within that time, the
// whole stream is held instead of the one message.
const rejectRetry = 24 * time.Hour

// rejects is what is known of messages and streams that the broker rejects. A single
// message that it rejects is called poison: it is moved to the rejected items of the
// queue and declared as a gap. If the broker rejects a whole stream, the stream is held:
// its readings are moved there, too, but are not declared, and once the broker accepts the
// stream they are sent before newer ones.
//
// If the broker closes the connection for a message or a stream, that is retried after a
// start and once a day, alone and when nothing else waits. See hold for streams whose
// readings the broker drops without closing.
//
// Only the goroutine of the session uses the fields; they live longer than the session.
type rejects struct {
	poison      map[msgID]bool       // messages to reject when Peek returns them
	lastReject  map[string]time.Time // by stream: when a message was last rejected
	held        map[string]*hold     // by stream
	mutedStates map[string]bool      // streams whose state the broker rejects
	next        time.Time            // when the next round of retries begins

	// Results of the current round of retries.
	tried map[msgID]bool  // poison that was rejected again
	again map[string]bool // held streams that were rejected again
}

func newRejects() rejects {
	return rejects{poison: map[msgID]bool{}, lastReject: map[string]time.Time{}, held: map[string]*hold{},
		mutedStates: map[string]bool{},
		tried:       map[msgID]bool{}, again: map[string]bool{}}
}

// isRejected reports whether an item must be moved to the rejected items instead of sent.
func (r *rejects) isRejected(it *queue.Item) bool {
	return r.held[it.Stream] != nil || len(r.poison) > 0 && r.poison[msgIDOf(it)]
}

// refusedStreams returns the streams that are held or whose state is rejected, sorted.
func (r *rejects) refusedStreams() []string {
	all := maps.Clone(r.mutedStates)
	for stream := range r.held {
		all[stream] = true
	}
	if all[""] {
		delete(all, "")
		all[streamName("")] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// loadHeld finds in the rejected items of the queue which streams an earlier start held.
func (l *Link) loadHeld() {
	var c queue.Cursor
	for {
		items, err := l.backlog.Rejected(&c, 256)
		if err != nil {
			l.log.Error("messages that were set aside cannot be read", "err", err)
		}
		if len(items) == 0 {
			return
		}
		for i := range items {
			if !items[i].Declared() {
				l.rejects.held[items[i].Stream] = &hold{}
			}
			c.Advance(items[i])
		}
	}
}

// rewind prepares for a new session: unacknowledged readings of held streams are sent again.
func (r *rejects) rewind() {
	for _, h := range r.held {
		h.rewind()
	}
}

// retries sends rejected messages again. Only the goroutine of the session uses it.
type retries struct {
	link    *Link
	out     *outgoing
	canary  *canary
	probes  *prober
	acks    *acks
	history *history
	health  *heartbeat

	refusals *refusals // with MQTT 5

	cursor queue.Cursor // position of tryAlone in the rejected items
	trying bool         // a rejected item is sent alone, or will be when nothing is in flight
}

// rejectPoison decides what to do about poison: it mutes the state, holds the stream, or
// rejects only the message. why is how the session ended: the broker closed the
// connection or stopped acknowledging.
func (t *retries) rejectPoison(d msgID, why error) {
	r, now := &t.link.rejects, time.Now()
	last, before := r.lastReject[d.stream]
	r.wait(now)
	switch held := r.held[d.stream]; {
	case held != nil && !d.state: // a kept reading that was sent again, not alone
		held.closes, held.open = true, false
		r.again[d.stream] = true
		t.link.log.Warn("the broker refuses a stream that it took: it is held again", "stream", d.stream, "why", why)
		return
	case d.state:
		r.mutedStates[d.stream] = true
		t.link.log.Error("the broker refuses each state of a stream: it is not sent for a day", "stream", d.stream,
			"topic", t.link.topics.State(d.stream), "why", why, "mend", "see the broker's log and access list")
		return
	case before && now.Sub(last) < rejectRetry || !t.link.proofs.of(d.stream).acked:
		r.held[d.stream] = &hold{closes: true}
		t.link.log.Error("the broker refuses each message of a stream: they are kept and tried again in a day",
			"stream", d.stream, "topic", t.link.topics.History(d.stream), "why", why, "mend",
			"see the broker's log and access list, then restart holdfast")
		t.link.report("aside", map[string]any{"stream": d.stream, "held": true})
	default:
		r.poison[d] = true
		t.link.log.Error("the broker refuses a message: it is set aside and tried again in a day", "stream", d.stream,
			"boot", d.boot, "seq", d.seq, "topic", t.link.topics.History(d.stream), "why", why, "look",
			"holdfast queue export --aside")
	}
	r.lastReject[d.stream] = now
	r.newRound()
}

// rejectedRecently reports whether a message of the stream was rejected within
// siblingPeriod: the broker may reject the whole stream.
func (r *rejects) rejectedRecently(stream string) bool {
	last, ok := r.lastReject[stream]
	return ok && time.Since(last) < siblingPeriod
}

// newRound clears the results of a round of retries, even if it is not complete.
func (r *rejects) newRound() {
	clear(r.tried)
	clear(r.again)
}

// wait sets the next round of retries to rejectRetry from now.
func (r *rejects) wait(now time.Time) {
	r.next = now.Add(rejectRetry)
}

// ackedToken is the token of an item that is not sent: it counts as acknowledged at once.
type ackedToken struct{}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (ackedToken) Done() <-chan struct{} { return closedChan }
func (ackedToken) Answered() bool        { return true }
func (ackedToken) Error() error          { return nil }

// tryAlone retries, during a round, an item for which the broker closed the connection.
// Nothing else may be in flight. It reports whether it has sent or tracked an item.
func (t *retries) tryAlone() bool {
	r := &t.link.rejects
	if !t.canary.acksProven() || time.Now().Before(r.next) || len(t.history.peeked) > 0 && !t.trying {
		return false
	}
	it, err := t.nextAlone()
	switch {
	case err != nil:
		t.link.log.Error("messages that were set aside cannot be read: it is tried again in a day", "err", err)
		t.trying = false
		r.wait(time.Now())
		return false
	case it == nil:
		t.trying = false
		if t.out.inflight.len() == 0 {
			t.endRound()
		}
		return false
	case it.Declared() && t.link.tooLate(it):
		t.out.track(&sentMessage{Token: ackedToken{}, kind: kindLate, item: *it})
		t.cursor.Advance(*it)
		return true
	case t.out.inflight.len() > 0:
		t.trying = true // it is sent when nothing is in flight any more
		return false
	case t.link.proofs.of(it.Stream).probe != nil:
		return false // the probe before it is not decided yet
	}
	t.trying = true
	if it.Priority != sensors.Alarm {
		t.link.pace.take()
	}
	m, f := t.history.message(it), sentMessage{kind: kindRetry, item: *it}
	if t.probes.proving() && !it.Declared() {
		t.probes.send(it.Stream, m, f, true)
	} else {
		t.out.publish(m, &f)
	}
	t.cursor.Advance(*it)
	return true
}

// nextAlone returns the oldest rejected item for which the broker closed the connection
// and that was not tried in this round; nil if there is none.
func (t *retries) nextAlone() (*queue.Item, error) {
	r := &t.link.rejects
	for {
		items, err := t.link.backlog.Rejected(&t.cursor, 64)
		if err != nil || len(items) == 0 {
			return nil, err
		}
		for i := range items {
			it := &items[i]
			if r.closes(it) {
				return it, nil
			}
			if r.held[it.Stream] == nil && !it.Declared() {
				r.held[it.Stream] = &hold{} // loadHeld could not read it
			}
			t.cursor.Advance(*it)
		}
	}
}

// closes reports whether an item has to be tried alone in this round.
func (r *rejects) closes(it *queue.Item) bool {
	if it.Declared() {
		return !r.tried[msgIDOf(it)]
	}
	h := r.held[it.Stream]
	return h != nil && h.closes && !h.open && !r.again[it.Stream]
}

// accepted records that the broker accepted an item for which it had closed the connection.
func (t *retries) accepted(it *queue.Item) {
	if it.Declared() {
		t.link.log.Info("the broker accepts a message that it refused before", "stream", it.Stream, "boot", it.Boot,
			"seq", it.Seq)
		return
	}
	t.acceptStream(it.Stream)
}

// stillRejected records that the session ended again because of an item; why is how.
func (t *retries) stillRejected(it *queue.Item, why error) {
	t.link.log.Warn("the broker still refuses what is set aside", "stream", it.Stream, "boot", it.Boot, "seq", it.Seq,
		"why", why)
	t.link.rejects.tried[msgIDOf(it)] = true
	if !it.Declared() {
		t.link.rejects.again[it.Stream] = true
	}
}

// endRound ends a round of retries: everything was tried.
func (t *retries) endRound() {
	r := &t.link.rejects
	clear(r.mutedStates)
	r.newRound()
	r.wait(time.Now())
	t.cursor.Rewind()
}

// acked records that the broker acknowledged a retried message.
func (t *retries) acked(f *sentMessage) {
	t.trying = false
	if f.probe == nil { // a probe must also come back to be accepted
		t.accepted(&f.item)
	}
}
