package uplink

import (
	"maps"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// retryRefused is how long what a broker closes the connection for is left
// alone. A second message of a stream that it refuses within that time is no
// poison: it refuses the stream.
const rejectRetry = 24 * time.Hour

// rejects are what the broker does not take. Poison is rejected and declared. A
// stream that is refused is held: its readings are rejected too, but nothing is
// declared, and they come before newer ones when they may go. All fields belong to
// the goroutine of the session, and outlive it.
//
// What the broker closes the connection for is tried again after a start and
// once a day, alone and when nothing else waits; see hold for what it drops.
type rejects struct {
	poison      map[msgID]bool       // to be rejected when it comes
	lastReject  map[string]time.Time // by stream, when a message was last rejected
	held        map[string]*hold     // streams
	mutedStates map[string]bool      // streams whose state is refused
	next        time.Time            // when all that closes the connection is tried again

	// of one round of trying
	tried map[msgID]bool  // poison that was refused again
	again map[string]bool // held streams that were refused again
}

func newRejects() rejects {
	return rejects{poison: map[msgID]bool{}, lastReject: map[string]time.Time{}, held: map[string]*hold{},
		mutedStates: map[string]bool{},
		tried:       map[msgID]bool{}, again: map[string]bool{}}
}

// isRejected says that the broker does not take an item.
func (r *rejects) isRejected(it *queue.Item) bool {
	return r.held[it.Stream] != nil || len(r.poison) > 0 && r.poison[msgIDOf(it)]
}

// names are the streams that are refused.
func (r *rejects) names() []string {
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

// recall learns from the backlog which streams an earlier start held.
func (l *Link) recall() {
	var c queue.Cursor
	for {
		items, err := l.backlog.Rejected(&c, 256)
		if err != nil {
			l.log.Error("what is set aside cannot be read", "err", err)
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

// rewind starts a session: what was sent of what is kept comes again.
func (r *rejects) rewind() {
	for _, h := range r.held {
		h.rewind()
	}
}

// retries send rejected messages once more. All fields belong to the goroutine of
// the session.
type retries struct {
	link    *Link
	out     *outgoing
	canary  *canary
	probes  *prober
	acks    *acks
	history *history
	health  *heartbeat

	refusals *refusals // with MQTT 5

	cursor queue.Cursor // through what was rejected, for what goes alone
	trying bool         // something that was rejected goes alone, or will
}

// rejectPoison draws the conclusion when a message is poison: it is rejected alone,
// or with its stream. why is how the session ended: the broker closed the connection, or
// acknowledged nothing any more.
func (t *retries) rejectPoison(d msgID, why error) {
	r, now := &t.link.rejects, time.Now()
	last, before := r.lastReject[d.stream]
	r.wait(now)
	switch held := r.held[d.stream]; {
	case held != nil && !d.state: // it was kept, and sent again beside others
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

// rejectedLately says that a message of a stream was rejected a moment ago: the
// broker may refuse the whole stream.
func (r *rejects) rejectedLately(stream string) bool {
	last, ok := r.lastReject[stream]
	return ok && time.Since(last) < likelyFor
}

// newRound forgets what a round has shown, also one that was interrupted.
func (r *rejects) newRound() {
	clear(r.tried)
	clear(r.again)
}

// wait puts the next round of trying off, so that it is a day after the newest
// refusal.
func (r *rejects) wait(now time.Time) {
	r.next = now.Add(rejectRetry)
}

// arrived is the token of what need not travel.
type arrived struct{}

var already = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (arrived) Done() <-chan struct{} { return already }
func (arrived) Answered() bool        { return true }
func (arrived) Error() error          { return nil }

// tryAlone sends something again for which the broker closed the connection,
// when it is time for that: alone, except for streams of which one was taken.
func (t *retries) tryAlone() bool {
	r := &t.link.rejects
	if !t.canary.acksProven() || time.Now().Before(r.next) || len(t.history.peeked) > 0 && !t.trying {
		return false
	}
	it, err := t.nextAlone()
	switch {
	case err != nil:
		t.link.log.Error("what is set aside cannot be read: it is tried again in a day", "err", err)
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
		t.out.track(&sentMessage{Token: arrived{}, kind: kindLate, item: *it})
		t.cursor.Advance(*it)
		return true
	case t.out.inflight.len() > 0:
		t.trying = true // what is in flight lands, and then it goes
		return false
	case t.link.proofs.of(it.Stream).probe != nil:
		return false // the one before it comes back, or does not
	}
	t.trying = true
	if it.Priority != sensors.Alarm {
		t.link.pace.pass()
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

// nextAlone is the oldest item that is rejected, closes the connection, and was
// not tried in this round; nil if there is none.
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
				r.held[it.Stream] = &hold{} // it was kept without our knowledge
			}
			t.cursor.Advance(*it)
		}
	}
}

// closes says that an item is to be tried alone.
func (r *rejects) closes(it *queue.Item) bool {
	if it.Declared() {
		return !r.tried[msgIDOf(it)]
	}
	h := r.held[it.Stream]
	return h != nil && h.closes && !h.open && !r.again[it.Stream]
}

// accepted takes note that the broker took what it closed the connection for.
func (t *retries) accepted(it *queue.Item) {
	if it.Declared() {
		t.link.log.Info("the broker takes what it refused", "stream", it.Stream, "boot", it.Boot, "seq", it.Seq)
		return
	}
	t.acceptStream(it.Stream)
}

// stillRejected takes note that the session ended for it again; why is how.
func (t *retries) stillRejected(it *queue.Item, why error) {
	t.link.log.Warn("the broker still refuses what is set aside", "stream", it.Stream, "boot", it.Boot, "seq", it.Seq,
		"why", why)
	t.link.rejects.tried[msgIDOf(it)] = true
	if !it.Declared() {
		t.link.rejects.again[it.Stream] = true
	}
}

// endRound: all that closes the connection was tried.
func (t *retries) endRound() {
	r := &t.link.rejects
	clear(r.mutedStates)
	r.newRound()
	r.wait(time.Now())
	t.cursor.Rewind()
}

// acked takes note that the broker acknowledged what was rejected.
func (t *retries) acked(f *sentMessage) {
	t.trying = false
	if f.probe == nil { // else it has to come back first
		t.accepted(&f.item)
	}
}
