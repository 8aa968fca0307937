package uplink

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// maxProbeCloses is how many sessions may end while the subscription of a stream's probe has
// no answer, without an echo of that stream in between. Then probes are off for probesOff:
// a broker may close the connection because of the subscription, and readings have to be
// delivered nevertheless.
const (
	maxProbeCloses = 3
	probesOff      = 24 * time.Hour
)

// A prober sends probes, and decides what an echo or a missing echo means: see proofs. All
// fields belong to the goroutine of the session.
type prober struct {
	link    *Link
	out     *outgoing
	canary  *canary
	notices *notices
	acks    *acks
	retries *retries
	history *history
}

// proving reports whether probes are in use now.
func (p *prober) proving() bool {
	return p.canary.held == "" && p.unproven() == "" && !p.out.hasReasonCodes
}

// unproven returns why acknowledgements are trusted without a proof; empty: probes or MQTT 5
// prove them.
func (p *prober) unproven() string {
	switch {
	case p.out.hasReasonCodes: // each acknowledgement does
		return ""
	case p.link.opt.NoProof:
		return "mqtt.prove_publish is false"
	case p.canary.unprovable():
		return "the broker closes the connection for " + p.link.topics.Agent("canary")
	case !p.link.proofs.offUntil.IsZero() && time.Now().Before(p.link.proofs.offUntil):
		return "the broker closes the connection when we subscribe to our own readings"
	}
	return ""
}

// blame reports whether the broker closed the connection for the
// subscription of a probe: it takes packets in order, and that is the first
// without an answer. Nothing else is to blame then.
func (p *prober) blame() bool {
	if p.out.inflight.len() == 0 {
		return false
	}
	pr := p.out.inflight.front().probe
	if pr == nil || succeededSoon(pr.subscribed) {
		return false
	}
	closes := p.link.proofs.closes
	if closes[pr.item.Stream]++; closes[pr.item.Stream] >= maxProbeCloses {
		clear(closes)
		p.link.proofs.offUntil = time.Now().Add(probesOff)
		p.link.log.Error("the broker closes the connection when we subscribe to our own readings: they go without "+
			"proof that they arrive",
			"topic", pr.message.Topic, "mend",
			"allow this account to read what it publishes, or set mqtt.prove_publish: false")
	}
	return true
}

// mayProbe reports whether a probe may be sent. After a session that ended because of a
// probe, the next session needs an answer to another message first: a broker that answers
// nothing says nothing about subscriptions. No probe is sent while a suspect notice is in
// flight, because the end of the session would be blamed on the notice.
func (p *prober) mayProbe() bool {
	return p.proving() && (p.out.answered || len(p.link.proofs.closes) == 0) && p.notices.isolated() == nil
}

// libraryDelay is how long the library may take to deliver an answer that it has read: the
// end of the connection, which it reads later, is reported at once.
const libraryDelay = 200 * time.Millisecond

// succeededSoon is succeeded for a connection that has ended: it waits for libraryDelay.
func succeededSoon(t mqtt.Token) bool {
	select {
	case <-t.Done():
	case <-time.After(libraryDelay):
	}
	return succeeded(t)
}

// succeeded reports whether the broker has answered without an error. It does not wait.
func succeeded(t mqtt.Token) bool {
	select {
	case <-t.Done():
		return t.Error() == nil
	default:
		return false
	}
}

// send publishes a probe between a SUBSCRIBE and an UNSUBSCRIBE: a broker handles packets
// in order, and so sends back only this message. With lasting, or while there are suspects,
// the UNSUBSCRIBE follows only after the echo: no packet may be in flight after a suspect.
func (p *prober) send(stream string, m mqtt.Message, f sentMessage, lasting bool) {
	m.Payload = slices.Clone(m.Payload) // it may be sent once more, and is compared with what comes back
	pr := &probe{item: f.item, message: m, lasting: lasting || p.link.proofs.keepSubscribed || p.link.suspects.any()}
	if first := p.link.proofs.of(stream).probe; first != nil {
		pr.second, pr.waited = true, first.lasting
	}
	h := p.link.rejects.held[stream]
	trial := h != nil && !h.open // it comes again in a minute anyway
	pr.repeated = pr.second || trial
	p.link.proofs.sent(stream, pr, trial)
	pr.subscribed = p.out.conn.Subscribe(m.Topic)
	pr.heard = p.out.conn.Expect(m)
	f.probe = pr
	p.out.publish(m, &f)
	if !pr.lasting {
		p.out.conn.Unsubscribe(m.Topic)
	}
}

// probeBytes is what a probe costs besides the message: SUBSCRIBE, UNSUBSCRIBE
// and their answers.
func probeBytes(topic string) int { return 2*len(topic) + 22 }

// check handles the echoes that have come back, and those that are overdue.
func (p *prober) check() error {
	if len(p.link.proofs.probing) == 0 || !p.proving() {
		return nil
	}
	now := time.Now()
	for stream, st := range p.link.proofs.probing {
		pr := st.probe
		check := pr.nextCheck(p.link.opt.ackBounds().proof)
		select {
		case <-pr.heard:
			p.heard(stream, st)
			continue
		default:
		}
		var denied *mqtt.DeniedError
		switch {
		case tokenError(pr.subscribed, &denied):
			p.deny(stream, denied.Error())
		case check.IsZero() || now.Before(check):
		case !pr.repeated:
			p.repeat(stream, st)
		default:
			p.deny(stream, "nothing heard of it")
		}
	}
	return nil
}

// tokenError reports whether the broker has answered with an error of type E.
func tokenError[E error](t mqtt.Token, target *E) bool {
	select {
	case <-t.Done():
		return errors.As(t.Error(), target)
	default:
		return false
	}
}

// heard records that the readings of a stream arrive. If the first copy of the probe did not
// come back, readings before it may be lost, and are declared.
func (p *prober) heard(stream string, st *streamProof) {
	pr := st.probe
	p.link.proofs.end(stream)
	delete(p.link.proofs.closes, stream)
	delete(p.link.suspects, msgIDOf(&pr.item))
	if pr.lasting {
		p.out.conn.Unsubscribe(pr.message.Topic)
	} else {
		p.link.proofs.echoesInOrder = true
	}
	switch {
	case pr.second && (pr.waited || p.link.proofs.echoesInOrder):
		p.noteUnreleased(pr, st)
		p.declareUnproven(stream, st)
	case pr.second:
		p.link.proofs.keepSubscribed = true
	}
	st.session, st.at, st.unproven, st.doubted = p.link.proofs.session, pr.sent, nil, false
	p.retries.acceptStream(stream)
}

// noteUnreleased records the items that were sent before the second copy of a probe and wait
// for it: the broker has dropped the first copy, and perhaps the messages after it.
func (p *prober) noteUnreleased(pr *probe, st *streamProof) {
	note := func(it *queue.Item, sent time.Time) {
		if it.Stream == pr.item.Stream && msgIDOf(it) != msgIDOf(&pr.item) && sent.Before(pr.sent) {
			st.note(it)
		}
	}
	for _, list := range p.acks.lists() {
		for i := range list.len() {
			if o := list.at(i); !o.reject {
				note(&o.item, o.sent)
			}
		}
	}
	for i := range p.out.inflight.len() {
		if f := p.out.inflight.at(i); f.kind == kindHistory || f.kind == kindRetry {
			note(&f.item, f.sent)
		}
	}
}

// repeat sends a probe once more, since nothing was heard of it. The canary
// behind it tells whether anything of ours arrives; and what was acknowledged of
// the other streams is in doubt too.
func (p *prober) repeat(stream string, st *streamProof) {
	pr := st.probe
	p.send(stream, pr.message, sentMessage{kind: kindProbe, item: pr.item}, true)
	p.canary.repeat()
	for other, st := range p.link.proofs.streams {
		if st.session == p.link.proofs.session && st.probe == nil {
			st.session, st.doubted = 0, true
			p.probeAgain(other, st)
		}
	}
}

// probeAgain sends the latest reading of a stream a second time, as a probe: its
// next one may come when the access list is as it was. One that waits for room in
// the window is a probe anyway.
func (p *prober) probeAgain(stream string, st *streamProof) {
	if it := p.acks.latest(stream); it != nil {
		p.send(stream, p.history.message(it), sentMessage{kind: kindProbe, item: *it}, false)
		return
	}
	n := len(st.unproven)
	r, ok := p.link.states.of(stream)
	if n == 0 || !ok || st.unproven[n-1].Boot != p.link.opt.Boot || r.Seq > st.unproven[n-1].To {
		return
	}
	it := queue.Item{Reading: r, Boot: p.link.opt.Boot}
	it.At = p.link.opt.Clock.Resolve(it.At)
	if p.link.tooLate(&it) {
		return
	}
	p.send(stream, p.history.message(&it), sentMessage{kind: kindProbe, item: it}, false)
}

// deny draws the conclusion that a stream's readings do not arrive: unless
// nothing of ours does, it is held.
func (p *prober) deny(stream, why string) {
	if !p.canary.acksProven() {
		return // the canary tells more
	}
	st := p.link.proofs.of(stream)
	pr := st.probe
	p.out.conn.Unsubscribe(pr.message.Topic)
	p.declareUnproven(stream, st)
	p.link.proofs.end(stream)
	st.session = 0
	p.retries.holdStream(stream, pr.message.Topic, pr.sent, why)
}

// declareUnproven declares what was acknowledged of a stream since the reading
// that came back last: it may not have arrived.
func (p *prober) declareUnproven(stream string, st *streamProof) {
	lost := st.unproven
	st.unproven, st.doubted = nil, false
	for _, g := range lost {
		p.link.log.Error("readings that the broker acknowledged may not have arrived", "stream", stream,
			"topic", p.link.topics.History(stream), "boot", g.Boot, "from", g.From, "to", g.To, "count", g.Count)
		if p.link.opt.Declare != nil {
			p.link.opt.Declare(g)
		}
	}
}

// declareDoubted declares what is unproven of the streams that are in doubt, or
// whose probe was not heard: nothing of ours arrives, or the session has ended
// before that was known.
func (p *prober) declareDoubted() {
	for _, stream := range slices.Sorted(maps.Keys(p.link.proofs.streams)) {
		st := p.link.proofs.of(stream)
		if st.doubted || st.probe != nil && st.probe.second {
			p.declareUnproven(stream, st)
			st.session = 0
		}
	}
	p.link.proofs.forgetProbes()
}

// due returns when the first probe has to be checked; zero: there is none.
func (p *prober) due(now time.Time) (due time.Time) {
	if !p.proving() {
		return due
	}
	for _, st := range p.link.proofs.probing {
		if at := st.probe.nextCheck(p.link.opt.ackBounds().proof); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return ifAfter(due, now)
}

// headProbeHeard is closed when the probe that the head of a line waits for is heard.
// Before acknowledgements are proven nothing is done about it.
func (p *prober) headProbeHeard(list *fifo[outcome]) <-chan struct{} {
	if list.len() == 0 || !p.proving() || !p.canary.acksProven() {
		return nil
	}
	if pr := p.link.proofs.of(list.front().item.Stream).probe; pr != nil {
		return pr.heard
	}
	return nil
}
