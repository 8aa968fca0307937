package uplink

import (
	"encoding/json"
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

// asides are what the broker does not take. Poison is set aside and declared. A
// stream that is refused is held: its readings are set aside too, but nothing is
// declared, and they come before newer ones when they may go.
//
// What the broker closes the connection for is tried again after a start and
// once a day, alone and when nothing else waits; see hold for what it drops.
type rejects struct {
	poison      map[msgID]bool       // to be set aside when it comes
	lastReject  map[string]time.Time // by stream, when one was last set aside
	held        map[string]*hold     // streams
	mutedStates map[string]bool      // streams whose state is refused
	next        time.Time            // when all that closes the connection is tried again

	// of one round of trying
	tried map[msgID]bool  // poison that was refused again
	again map[string]bool // held streams that were refused again
}

func newRejects() rejects {
	return rejects{poison: map[msgID]bool{}, lastReject: map[string]time.Time{}, held: map[string]*hold{}, mutedStates: map[string]bool{},
		tried: map[msgID]bool{}, again: map[string]bool{}}
}

// unwanted says that the broker does not take an item.
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
		all["agent/event"] = true
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

// sentence draws the conclusion from guilt.
func (s *session) rejectPoison(d msgID) {
	r, now := &s.rejects, time.Now()
	last, before := r.lastReject[d.stream]
	r.wait(now)
	switch held := r.held[d.stream]; {
	case held != nil && !d.state: // it was kept, and sent again beside others
		held.closes, held.open = true, false
		r.again[d.stream] = true
		s.log.Warn("the broker closes the connection for a stream that it took: it is held again", "stream", d.stream)
		return
	case d.state:
		r.mutedStates[d.stream] = true
		s.log.Error("the broker closes the connection for each state of a stream: it is not sent for a day",
			"stream", d.stream, "topic", s.topics.state[d.stream], "mend", "see the broker's log and access list")
		return
	case before && now.Sub(last) < rejectRetry || !s.proofs.of(d.stream).acked:
		r.held[d.stream] = &hold{closes: true}
		s.log.Error("the broker closes the connection for each message of a stream: they are kept and tried again in a day",
			"stream", d.stream, "topic", s.topics.ofHistory(d.stream), "mend", "see the broker's log and access list, then restart holdfast")
		s.report("aside", map[string]any{"stream": d.stream, "held": true})
	default:
		r.poison[d] = true
		s.log.Error("the broker closes the connection for a message: it is set aside and tried again in a day",
			"stream", d.stream, "boot", d.boot, "seq", d.seq, "topic", s.topics.ofHistory(d.stream), "look", "holdfast queue export --aside")
	}
	r.lastReject[d.stream] = now
	r.newRound()
}

// convictedLately says that a message of a stream was set aside a moment ago: the
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

func (l *Link) report(event string, details map[string]any) {
	if l.opt.Report == nil {
		return
	}
	text, err := json.Marshal(details)
	if err != nil {
		panic("uplink: event: " + err.Error()) // strings and truths always marshal
	}
	l.opt.Report(sensors.Event{Name: event, At: l.opt.Clock.Now(), Details: text})
}

// shelve takes an unwanted item out of the way, once all before it are
// acknowledged: it lines up with what is in flight.
func (s *session) divert(it *queue.Item) {
	s.out.track(sentMessage{Token: arrived{}, kind: kindDiverted, item: *it})
	s.cursor.Advance(*it)
	s.peeked = s.peeked[1:]
}

// arrived is the token of what need not travel.
type arrived struct{}

var already = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (arrived) Done() <-chan struct{} { return already }
func (arrived) Error() error          { return nil }

// tryAside sends something again for which the broker closed the connection,
// when it is time for that: alone, except for streams of which one was taken.
func (s *session) tryAside() bool {
	r := &s.rejects
	if !s.acksProven() || time.Now().Before(r.next) || len(s.peeked) > 0 && !s.trying {
		return false
	}
	it, err := s.nextAside()
	switch {
	case err != nil:
		s.log.Error("what is set aside cannot be read: it is tried again in a day", "err", err)
		s.trying = false
		r.wait(time.Now())
		return false
	case it == nil:
		s.trying = false
		if s.out.inflight.len() == 0 {
			s.endRound()
		}
		return false
	case s.out.inflight.len() > 0:
		s.trying = true // what is in flight lands, and then it goes
		return false
	case s.proofs.of(it.Stream).probe != nil:
		return false // the one before it comes back, or does not
	}
	s.trying = true
	if it.Priority != sensors.Alarm {
		s.pace.pass()
	}
	m, f := s.message(it), sentMessage{kind: kindRetry, item: *it}
	if s.proving() && !it.Declared() {
		s.sendProbe(it.Stream, m, f, true)
	} else {
		s.out.publish(m, f)
	}
	s.aside.Advance(*it)
	return true
}

// nextAside is the oldest item that is set aside, closes the connection, and was
// not tried in this round; nil if there is none.
func (s *session) nextAside() (*queue.Item, error) {
	r := &s.rejects
	for {
		items, err := s.backlog.Rejected(&s.aside, 64)
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
			s.aside.Advance(*it)
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

// took takes note that the broker took what it closed the connection for.
func (s *session) accepted(it *queue.Item) {
	if it.Declared() {
		s.log.Info("the broker takes what it refused", "stream", it.Stream, "boot", it.Boot, "seq", it.Seq)
		return
	}
	s.acceptStream(it.Stream)
}

// refusedAgain takes note that it did not.
func (s *session) stillRejected(it *queue.Item) {
	s.log.Warn("the broker still closes the connection for a message that is set aside", "stream", it.Stream, "boot", it.Boot, "seq", it.Seq)
	s.rejects.tried[msgIDOf(it)] = true
	if !it.Declared() {
		s.rejects.again[it.Stream] = true
	}
}

// endRound: all that closes the connection was tried.
func (s *session) endRound() {
	r := &s.rejects
	clear(r.mutedStates)
	r.newRound()
	r.wait(time.Now())
	s.aside.Rewind()
}
