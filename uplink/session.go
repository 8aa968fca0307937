package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const (
	goodbyeGrace   = 3 * time.Second         // for what is in flight when the agent stops
	offlineTimeout = time.Second             // for the goodbye itself
	goodbyeLimit   = 4500 * time.Millisecond // for both, whatever blocks: then the connection is dropped
	retryRead      = time.Second             // after the backlog could not be read
)

var (
	errPreferred = errors.New("a server that is preferred answers again")
	errNoAcks    = errors.New("the broker has acknowledged nothing")

	// errNetworkBack is the end of a connection from before an outage of our network.
	errNetworkBack = errors.New("our network was away, and the old connection does not work any more")
)

// A session is one connection from CONNECT to its loss. One goroutine sends and
// listens: it fills the window, and waits until something happens. What has to be
// sent and when is known to the parts; the session asks them in order, and tells
// them what was acknowledged, heard or lost. All fields belong to that goroutine.
type session struct {
	link *Link
	out  *outgoing

	canary    *canary
	lateWill  *lateWill
	announcer *announcer
	health    *heartbeat
	notices   *notices
	probes    *prober
	history   *history
	retries   *retries
	acks      *acks

	order   []func() step // what goes next: see sendOrder
	leaving error         // why the session ends in order; nil: it does not
	until   time.Time     // the end of what is waited for when leaving
	timer   *time.Timer
}

func newSession(l *Link, conn Conn) *session {
	out := newOutgoing(conn, l.opt, l.pace)
	s := &session{link: l, out: out, canary: newCanary(l, out), lateWill: newLateWill(l),
		announcer: newAnnouncer(l, out),
		probes:    &prober{link: l, out: out}, retries: &retries{link: l, out: out}, acks: &acks{link: l},
		history: newHistory(l, out), timer: time.NewTimer(time.Hour)}
	s.health = newHeartbeat(l, s.canary, s.probes)
	s.notices = newNotices(l, out, s.canary, s.lateWill, s.announcer, s.health)

	p, h, t, k := s.probes, s.history, s.retries, s.acks
	p.canary, p.notices, p.acks, p.retries, p.history = s.canary, s.notices, k, t, h
	h.canary, h.probes, h.acks, h.retries = s.canary, p, k, t
	t.canary, t.probes, t.acks, t.history, t.health = s.canary, p, k, h, s.health
	k.canary, k.probes, k.retries, k.history = s.canary, p, t, h
	t.refusals = &refusals{link: l, out: out, canary: s.canary, acks: k, retries: t, history: h, notices: s.notices,
		hold: s.hold, release: s.release}
	s.order = s.sendOrder()
	return s
}

// run publishes until the connection is lost, or until what is in flight when
// ctx is done, and the last states, were acknowledged.
func (s *session) run(ctx context.Context) error {
	defer s.timer.Stop()
	s.begin()
	for s.leaving == nil || s.fillLast() {
		if s.leaving == nil {
			s.fill()
		}
		s.out.conn.Flush()
		if err := s.wait(ctx); err != nil {
			s.settle() // what was answered before the end is not to blame, and need not be sent again
			return err
		}
	}
	if goodbye(s.out.conn, s.link.will(), s.link.log) {
		s.out.conn.Disconnect()
	} else {
		s.out.conn.DisconnectWithWill()
	}
	return s.leaving
}

// begin says that the agent is online and what it is; states follow.
func (s *session) begin() {
	s.out.began = time.Now()
	s.probes.declareDoubted()
	s.link.proofs.begin()
	s.link.rejects.rewind()
	s.notices.subscribe()
	s.lateWill.now()
	s.canary.prove()
	if s.announcer.birthSeenBefore || s.canary.acksProven() { // else after the canary: see announce
		s.announcer.announce()
	}
	s.link.states.refresh()
	if s.out.tells {
		s.announcer.reassertAt = time.Now().Add(reassertEvery)
	} else {
		s.link.forgetUnheard()
	}
	s.health.changed()
}

// wait waits until something happens, and takes note of it.
func (s *session) wait(ctx context.Context) error {
	var stop, preferred <-chan struct{}
	if s.leaving == nil {
		stop, preferred = ctx.Done(), s.out.conn.Preferred()
	}
	lines := s.acks.lists()
	wait := time.Until(s.due())
	s.timer.Reset(wait)
	s.link.opt.Progress(max(wait, 0) + busyLimit)
	select {
	case <-s.out.awaited():
		return s.settle()
	case <-s.probes.heardAhead(lines[0]):
		return s.ack()
	case <-s.probes.heardAhead(lines[1]):
		return s.ack()
	case <-s.probes.heardAhead(lines[2]):
		return s.ack()
	case <-s.link.backlog.Arrived():
	case <-s.link.states.changed:
	case next := <-s.link.orders.responses.arrived():
		s.link.orders.responses.next = &next // fill sends it
	case m := <-s.out.conn.Heard():
		s.hear(m)
		return s.ack() // of what waited for the canary
	case <-s.out.conn.Done():
		return fmt.Errorf("connection lost: %w", s.out.conn.Err())
	case <-s.link.network:
		s.out.networkBack = time.Now()
	case <-preferred:
		s.leave(errPreferred)
	case <-stop:
		s.leave(ctx.Err())
	case <-s.timer.C:
		return s.tick()
	}
	return nil
}

// settle takes what the broker has acknowledged, oldest first. Only here
// anything is acknowledged to the backlog.
func (s *session) settle() error {
	s.out.turn()
	for s.out.inflight.len() > 0 && s.out.inflight.front().Answered() {
		f := s.out.inflight.front()
		if err := s.completed(f); err != nil {
			return err
		}
		s.out.pop()
	}
	return s.ack()
}

// completed takes note that one message was answered, or never will be.
func (s *session) completed(f *sentMessage) error {
	err := f.Error()
	switch {
	case f.kind == kindSubscription:
		s.out.window.gone(f.slot)
		return s.subscribed(f)
	case f.kind == kindDiverted:
		s.acks.push(&outcome{item: f.item, reject: true})
	case f.kind == kindLate:
		s.acks.push(&outcome{item: f.item, late: true})
	case refusalOf(err) != nil:
		s.refusedBy(f, refusalOf(err))
	case err != nil:
		return s.out.lost(err)
	case f.kind == kindOnce:
		s.notices.sent(f)
	default:
		s.link.board.acked(s.out.now.Sub(f.slot.sent))
		first := s.out.acked(f)
		s.notices.answered(f)
		if first {
			s.link.journal.up()
		}
		s.acked(f)
	}
	return nil
}

// refusedBy takes note that the broker has refused a message, or that it is too large to be
// sent.
func (s *session) refusedBy(f *sentMessage, why *mqtt.PublishError) {
	if why.Unsent {
		s.out.window.gone(f.slot)
	} else if s.out.acked(f) {
		s.link.journal.up()
	}
	s.retries.refusals.take(f, why)
}

// acked tells the part that sent a message that the broker has acknowledged it.
func (s *session) acked(f *sentMessage) {
	switch f.kind {
	case kindHistory:
		s.acks.push(&outcome{item: f.item, sent: f.sent})
		s.acquit(f)
		s.retries.refusals.took(f)
	case kindTrial:
		s.retries.refusals.took(f)
	case kindState:
		delete(s.history.flying, f.stream)
		delete(s.link.suspects, stateIDOf(f.stream))
	case kindRetry:
		s.acks.push(&outcome{item: f.item})
		s.acquit(f)
		s.retries.acked(f)
		s.retries.refusals.took(f)
	case kindBirth:
		s.announcer.birthAcked = true
	}
}

// acquit clears a reading that the broker has acknowledged of suspicion; a probe
// has to be heard, too.
func (s *session) acquit(f *sentMessage) {
	if f.probe == nil {
		delete(s.link.suspects, msgIDOf(&f.item))
	}
}

// subscribed takes the answer to a subscription.
func (s *session) subscribed(f *sentMessage) error {
	var denied *mqtt.DeniedError
	err := f.Error()
	if err != nil && !errors.As(err, &denied) {
		return s.out.lost(err)
	}
	s.out.answered = true
	s.notices.answered(f)
	unreadable := s.link.canary.unreadable
	switch {
	case err == nil:
		s.link.orders.granted(f.notice.Topic)
		return nil
	case denied.Topic == s.link.topics.Agent("canary"):
		s.hold(denied.Error())
	case s.link.orders.isDenied(denied.Topic):
		s.health.changed()
		if !unreadable[denied.Topic] {
			s.link.log.Error("no orders come: the broker's access list has to allow this client to read the topic",
				"topic", denied.Topic, "err", err)
		}
	case unreadable[denied.Topic]: // the log was told
	case denied.Topic == s.link.opt.homeStatusTopic():
		s.link.log.Warn("when Home Assistant restarts it is not told again", "err", err)
	default:
		s.link.log.Warn("take-overs and late wills go unnoticed", "err", err)
	}
	unreadable[denied.Topic] = true
	return nil
}

// ack tells the backlog what is known to have arrived. While the backlog is held,
// acknowledgements prove nothing.
func (s *session) ack() error {
	s.link.uptime = 0
	s.out.turn()
	if s.canary.held != "" {
		s.acks.forget()
	}
	if !s.canary.acksProven() {
		return nil
	}
	s.announcer.proven()
	if err := s.probes.check(); err != nil {
		return err
	}
	if err := s.acks.flushDecided(); err != nil {
		return err
	}
	s.link.skips.reportDue(s.history)
	return nil
}

// due is when something has to be done even if nothing happens.
func (s *session) due() time.Time {
	if s.leaving != nil {
		return s.until
	}
	now := time.Now()
	// The last two may have passed since fill asked.
	at := earliest(now.Add(time.Minute), s.announcer.reassertAt, s.link.pace.next, s.canary.next)
	if s.retries.mustWait() {
		at = earliest(at, s.retries.quietUntil())
	}
	for _, part := range []interface{ due(now time.Time) time.Time }{s.out, s.history, s.probes, &s.link.rejects,
		s.notices, s.retries.refusals} {
		at = earliest(at, part.due(now))
	}
	return at
}

// tick does what is due.
func (s *session) tick() error {
	if err := s.settle(); err != nil { // what was answered may not be awaited, see refillsHalf
		return err
	}
	now := time.Now()
	if err := s.out.expired(now); err != nil {
		return err
	}
	s.announcer.reassert(now)
	if why := s.canary.silence(now); why != "" {
		s.hold(why)
	}
	if s.out.becomesStable(now) {
		s.link.journal.stable()
	}
	return s.ack() // or give up what should have been heard by now
}

// hear takes a message on one of the topics subscribed to.
func (s *session) hear(m mqtt.Message) {
	switch m.Topic {
	case s.link.topics.Agent("canary"):
		s.canaryHeard(string(m.Payload))
	case s.link.topics.Agent("status"):
		if s.leaving == nil {
			s.lateWill.hear(string(m.Payload))
		}
	case s.link.topics.Agent("info"):
		s.announcer.hearBirth(m)
	default:
		// A broker that goes on with a session may send orders before their handlers are there.
		if !s.link.orders.hearEarly(m) {
			s.announcer.hearHome(m)
		}
	}
}

// canaryHeard takes a message on the topic of the canary. If the backlog was
// held, what was sent in this session was denied, and is sent again.
func (s *session) canaryHeard(payload string) {
	proven, released := s.canary.hear(payload)
	if proven {
		s.announcer.announce()
	}
	if !released {
		return
	}
	s.release()
}

// release lets the backlog go that was held.
func (s *session) release() {
	s.canary.released()
	s.link.board.holds("")
	s.link.log.Info("uplink may publish: the backlog goes out")
	s.health.changed()
	s.history.cursor.Rewind()
	s.link.rejects.rewind() // what is kept of a stream comes before its new readings
	for i := range s.out.inflight.len() {
		if f := s.out.inflight.at(i); f.kind == kindHistory {
			f.kind = kindOther
		}
	}
}

// hold holds the backlog for this session. Alarms are sent all the same, and
// stay in the queue.
func (s *session) hold(why string) {
	if !s.canary.hold(why) {
		return
	}
	s.health.changed()
	s.announcer.announce()
	if s.out.tells {
		s.link.board.holds("the broker refuses what we publish: " + why)
		return // the part that holds it tells the log
	}
	s.link.board.holds("no proof that we may publish, agent/canary: " + why)
	s.probes.declareDoubted()
	s.canary.logHold()
}

// leave lets the session end in order. What arrived a moment ago still goes: outputs have just
// become safe.
func (s *session) leave(why error) {
	s.fill()
	s.leaving, s.until = why, time.Now().Add(goodbyeGrace)
}

// fillLast sends the states that are left, for which the backlog may have had no room, and
// reports whether anything is worth a wait: until then the retained state of an output
// says what it did before it became safe.
func (s *session) fillLast() bool {
	if !time.Now().Before(s.until) {
		return false
	}
	for s.out.window.open() && s.history.sendState(false) {
	}
	return s.out.inflight.len() > 0
}

// goodbye publishes the message that the will has: the broker forgets the will at an
// orderly disconnect. It reports whether the broker has acknowledged it within
// offlineTimeout.
func goodbye(conn Conn, offline mqtt.Message, log *slog.Logger) bool {
	token := conn.Publish(offline)
	err := errors.New("not acknowledged in time")
	select {
	case <-token.Done():
		err = token.Error()
	case <-time.After(offlineTimeout):
	}
	if err != nil {
		log.Warn("no goodbye: the broker will send the will", "err", err)
	}
	return err == nil
}
