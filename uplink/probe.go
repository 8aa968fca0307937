package uplink

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
)

// maxProbeCloses is how many sessions may end while the subscription of a stream's
// probe has no answer, and without an echo of that stream in between. Then nothing is
// proven for a while: an access list may close the connection for a subscription, and
// readings have to go.
const (
	maxProbeCloses = 3
	probesOff      = 24 * time.Hour
)

// proving says that readings are expected back.
func (s *session) proving() bool { return s.held == "" && s.unproven() == "" }

// unproven says why nothing proves that what the broker acknowledges arrives;
// empty: probes do.
func (s *session) unproven() string {
	switch {
	case s.opt.NoProof:
		return "mqtt.prove_publish is false"
	case s.unprovable():
		return "the broker closes the connection for " + s.topics.agent("canary")
	case !s.proofs.offUntil.IsZero() && time.Now().Before(s.proofs.offUntil):
		return "the broker closes the connection when we subscribe to our own readings"
	}
	return ""
}

// blameProbe reports whether the broker closed the connection for the
// subscription of a probe: it takes packets in order, and that is the first
// without an answer. Nothing else is to blame then.
func (s *session) blameProbe() bool {
	if s.out.inflight.len() == 0 {
		return false
	}
	pr := s.out.inflight.front().probe
	if pr == nil || succeeded(pr.subscribed) {
		return false
	}
	closes := s.proofs.closes
	if closes[pr.item.Stream]++; closes[pr.item.Stream] >= maxProbeCloses {
		clear(closes)
		s.proofs.offUntil = time.Now().Add(probesOff)
		s.log.Error("the broker closes the connection when we subscribe to our own readings: they go without proof that they arrive",
			"topic", pr.message.Topic, "mend", "allow this account to read what it publishes, or set mqtt.prove_publish: false")
	}
	return true
}

// mayProbe says that a probe may go. After a session that ended for one, the next
// has to get an answer to something else first: a broker that answers nothing
// says nothing about subscriptions. Nor may one go beside a notice under suspicion:
// the end of the session would be blamed on that.
func (s *session) mayProbe() bool {
	return s.proving() && (s.out.answered || len(s.proofs.closes) == 0) && s.isolatedOne() == nil
}

func succeeded(t Token) bool {
	select {
	case <-t.Done():
		return t.Error() == nil
	default:
		return false
	}
}

// sendProbe publishes a reading that has to come back, between a SUBSCRIBE and an
// UNSUBSCRIBE: a broker takes packets in order, and so forwards this one alone.
// A probe that lasts stays subscribed until it is heard: also while messages are
// under suspicion, so that nothing is sent behind one.
func (s *session) sendProbe(stream string, m Message, f sentMessage, lasting bool) {
	pr := &probe{item: f.item, message: m, lasting: lasting || s.proofs.late || s.suspects.any()}
	if first := s.proofs.of(stream).probe; first != nil {
		pr.second, pr.waited = true, first.lasting
	}
	// A stream that is held is tried again in a minute anyway.
	pr.repeated = pr.second || s.rejects.held[stream] != nil
	s.proofs.sent(stream, pr)
	pr.subscribed = s.out.conn.Subscribe(m.Topic)
	pr.heard = s.out.conn.Expect(m)
	f.probe = pr
	s.out.publish(m, f)
	if !pr.lasting {
		s.out.conn.Unsubscribe(m.Topic)
	}
}

// probeBytes is what a probe costs besides the message: SUBSCRIBE, UNSUBSCRIBE
// and their answers.
func probeBytes(topic string) int { return 2*len(topic) + 22 }

// checkProbes draws conclusions from what was heard, and from what was not.
func (s *session) checkProbes() error {
	if len(s.proofs.probing) == 0 || !s.proving() {
		return nil
	}
	now := time.Now()
	for stream, st := range s.proofs.probing {
		pr := st.probe
		check := pr.nextCheck(s.opt.bounds().proof)
		select {
		case <-pr.heard:
			s.heardProbe(stream, st)
			continue
		default:
		}
		var denied *DeniedError
		switch {
		case tokenError(pr.subscribed, &denied):
			s.deny(stream, denied.Error())
		case check.IsZero() || now.Before(check):
		case !pr.repeated:
			s.repeatProbe(stream, st)
		default:
			s.deny(stream, "nothing heard of it")
		}
	}
	return nil
}

// tokenError says that the broker has answered, and with such an error.
func tokenError[E error](t Token, target *E) bool {
	select {
	case <-t.Done():
		return errors.As(t.Error(), target)
	default:
		return false
	}
}

// heardProbe notes that a stream's readings arrive. If the broker has dropped a
// probe before this one, those before it may be lost.
func (s *session) heardProbe(stream string, st *streamProof) {
	pr := st.probe
	s.proofs.end(stream)
	delete(s.proofs.closes, stream)
	if pr.lasting {
		s.out.conn.Unsubscribe(pr.message.Topic)
	} else {
		s.proofs.prompt = true
	}
	switch {
	case pr.second && (pr.waited || s.proofs.prompt):
		s.noteUnreleased(pr, st)
		s.declareUnproven(stream, st)
	case pr.second:
		s.proofs.late = true
	}
	st.session, st.at, st.unproven, st.doubted = s.proofs.session, pr.sent, nil, false
	s.acceptStream(stream)
}

// noteUnreleased takes note of what was sent before the second copy of a probe and
// waits for it: the broker has dropped the first copy, and perhaps what came behind.
func (s *session) noteUnreleased(pr *probe, st *streamProof) {
	note := func(it *queue.Item, sent time.Time) {
		if it.Stream == pr.item.Stream && msgIDOf(it) != msgIDOf(&pr.item) && sent.Before(pr.sent) {
			st.note(it)
		}
	}
	list := &s.released.lanes[pr.item.Priority]
	for i := range list.len() {
		if o := list.at(i); !o.reject {
			note(&o.item, o.sent)
		}
	}
	for i := range s.out.inflight.len() {
		if f := s.out.inflight.at(i); f.kind == kindHistory {
			note(&f.item, f.sent)
		}
	}
}

// repeatProbe sends a probe once more, since nothing was heard of it. The canary
// behind it tells whether anything of ours arrives; and what was acknowledged of
// the other streams is in doubt too.
func (s *session) repeatProbe(stream string, st *streamProof) {
	pr := st.probe
	s.sendProbe(stream, pr.message, sentMessage{kind: kindProbe, item: pr.item}, true)
	if s.proven {
		s.proven = false
		s.prove()
	}
	for other, st := range s.proofs.streams {
		if st.session == s.proofs.session && st.probe == nil {
			st.session, st.doubted = 0, true
			s.probeAgain(other, st)
		}
	}
}

// probeAgain sends the latest reading of a stream a second time, as a probe: its
// next one may come when the access list is as it was. One that waits for room in
// the window is a probe anyway.
func (s *session) probeAgain(stream string, st *streamProof) {
	if it := s.released.latest(stream); it != nil {
		s.sendProbe(stream, s.message(it), sentMessage{kind: kindProbe, item: *it}, false)
		return
	}
	n := len(st.unproven)
	r, ok := s.states.of(stream)
	if n == 0 || !ok || st.unproven[n-1].Boot != s.opt.Boot || r.Seq > st.unproven[n-1].To {
		return
	}
	it := queue.Item{Reading: r, Boot: s.opt.Boot}
	it.At = s.opt.Clock.Resolve(it.At)
	s.sendProbe(stream, s.message(&it), sentMessage{kind: kindProbe, item: it}, false)
}

// deny draws the conclusion that a stream's readings do not arrive: unless
// nothing of ours does, it is held.
func (s *session) deny(stream, why string) {
	if !s.acksProven() {
		return // the canary tells more
	}
	st := s.proofs.of(stream)
	pr := st.probe
	s.out.conn.Unsubscribe(pr.message.Topic)
	s.declareUnproven(stream, st)
	s.proofs.end(stream)
	st.session = 0
	s.holdStream(stream, pr, why)
}

// declareUnproven declares what was acknowledged of a stream since the reading
// that came back last: it may not have arrived.
func (s *session) declareUnproven(stream string, st *streamProof) {
	lost := st.unproven
	st.unproven, st.doubted = nil, false
	for _, g := range lost {
		s.log.Error("readings that the broker acknowledged may not have arrived", "stream", stream,
			"topic", s.topics.ofHistory(stream), "boot", g.Boot, "from", g.From, "to", g.To, "count", g.Count)
		if s.opt.Declare != nil {
			s.opt.Declare(g)
		}
	}
}

// declareDoubted declares what is unproven of the streams that are in doubt, or
// whose probe was not heard: nothing of ours arrives, or the session has ended
// before that was known.
func (s *session) declareDoubted() {
	for _, stream := range slices.Sorted(maps.Keys(s.proofs.streams)) {
		st := s.proofs.of(stream)
		if st.doubted || st.probe != nil && st.probe.second {
			s.declareUnproven(stream, st)
			st.session = 0
		}
	}
	s.proofs.forgetProbes()
}

// probesDue is when the first probe has to be looked at; zero: there is none.
func (s *session) probesDue() (due time.Time) {
	if !s.proving() {
		return due
	}
	for _, st := range s.proofs.probing {
		if at := st.probe.nextCheck(s.opt.bounds().proof); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return due
}

// heardAhead is closed when the probe that the head of a line waits for is heard.
// Before the session is trusted nothing is done about it.
func (s *session) heardAhead(list *fifo[outcome]) <-chan struct{} {
	if list.len() == 0 || !s.proving() || !s.acksProven() {
		return nil
	}
	if pr := s.proofs.of(list.front().item.Stream).probe; pr != nil {
		return pr.heard
	}
	return nil
}
