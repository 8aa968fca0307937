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
	inFlightGrace  = 3 * time.Second         // for the acknowledgements of what is in flight when the agent stops
	offlineTimeout = time.Second             // for the acknowledgement of "offline"
	shutdownLimit  = 4500 * time.Millisecond // for both together; then the connection is dropped
	retryRead      = time.Second             // between two attempts to read a backlog that cannot be read
)

var (
	errPreferred = errors.New("a server that is preferred answers again")
	errNoAcks    = errors.New("the broker has acknowledged nothing")

	// errNetworkBack is the end of a connection from before an outage of our network.
	errNetworkBack = errors.New("the network was down, and the old connection does not work any more")
)

// A session is one connection from CONNECT to its loss. One goroutine sends and
// receives: it fills the window, and waits for the next event. Each part knows what it
// has to send and when. The session asks the parts in a fixed order (see
// sourcesByPriority), and tells them what was acknowledged, received or lost. All fields
// belong to that goroutine.
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

	sources    []func() step // of messages, by priority: see sourcesByPriority
	stopReason error         // why the session is shutting down; nil: it is not
	stopBy     time.Time     // the end of the wait for acknowledgements during the shutdown
	timer      *time.Timer
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
	s.sources = s.sourcesByPriority()
	return s
}

// run publishes until the connection is lost or ctx is done. In the second case it sends
// the last states and waits, for inFlightGrace at most, until everything in flight is
// acknowledged. It returns why the session has ended, and is never nil.
func (s *session) run(ctx context.Context) error {
	defer s.timer.Stop()
	s.begin()
	for s.stopReason == nil || s.sendLastStates() {
		if s.stopReason == nil {
			s.fill()
		}
		s.out.conn.Flush()
		if err := s.wait(ctx); err != nil {
			s.processAnswers() // messages answered before the loss are not suspects, and are not sent again
			return err
		}
	}
	if publishOffline(s.out.conn, s.link.will(), s.link.log) {
		s.out.conn.Disconnect()
	} else {
		s.out.conn.DisconnectWithWill()
	}
	return s.stopReason
}

// begin makes "online", the birth and the states due, and resets what lasts for one session.
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
	if s.out.hasReasonCodes {
		s.announcer.reassertAt = time.Now().Add(reassertEvery)
	} else {
		s.link.forgetUnheard()
	}
	s.health.changed()
}

// wait waits for one event and handles it. An error ends the session.
func (s *session) wait(ctx context.Context) error {
	var stop, preferred <-chan struct{}
	if s.stopReason == nil {
		stop, preferred = ctx.Done(), s.out.conn.Preferred()
	}
	lines := s.acks.lists()
	wait := time.Until(s.due())
	s.timer.Reset(wait)
	s.link.opt.Progress(max(wait, 0) + busyLimit)
	select {
	case <-s.out.awaited():
		return s.processAnswers()
	case <-s.probes.headProbeHeard(lines[0]):
		return s.ackBacklog()
	case <-s.probes.headProbeHeard(lines[1]):
		return s.ackBacklog()
	case <-s.probes.headProbeHeard(lines[2]):
		return s.ackBacklog()
	case <-s.link.backlog.Arrived():
	case <-s.link.states.changed:
	case next := <-s.link.orders.responses.arrived():
		s.link.orders.responses.next = &next // fill sends it
	case m := <-s.out.conn.Received():
		s.onMessage(m)
		return s.ackBacklog() // the message may be the canary, for which acknowledged items wait
	case <-s.out.conn.Done():
		return fmt.Errorf("connection lost: %w", s.out.conn.Err())
	case <-s.link.network:
		s.out.networkBack = time.Now()
	case <-preferred:
		s.beginShutdown(errPreferred)
	case <-stop:
		s.beginShutdown(ctx.Err())
	case <-s.timer.C:
		return s.tick()
	}
	return nil
}

// processAnswers handles the answers of the broker, oldest message first, and then
// acknowledges to the backlog what is known to have arrived.
func (s *session) processAnswers() error {
	s.out.updateNow()
	for s.out.inflight.len() > 0 && s.out.inflight.front().Answered() {
		f := s.out.inflight.front()
		if err := s.completed(f); err != nil {
			return err
		}
		s.out.pop()
	}
	return s.ackBacklog()
}

// completed handles the answer to one message, or the error that there is none. An error
// ends the session.
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

// refusedBy handles a message that the broker has refused (a PUBACK with an error code of
// MQTT 5), or that was not sent because it is too large for the broker.
func (s *session) refusedBy(f *sentMessage, why *mqtt.PublishError) {
	if why.Unsent {
		s.out.window.gone(f.slot)
	} else if s.out.acked(f) {
		s.link.journal.up()
	}
	s.retries.refusals.handle(f, why)
}

// acked passes an acknowledgement to the part of the session that sent the message.
func (s *session) acked(f *sentMessage) {
	switch f.kind {
	case kindHistory:
		s.acks.push(&outcome{item: f.item, sent: f.sent})
		s.clearSuspicion(f)
		s.retries.refusals.accepted(f)
	case kindTrial:
		s.retries.refusals.accepted(f)
	case kindState:
		delete(s.history.statesInFlight, f.stream)
		delete(s.link.suspects, stateIDOf(f.stream))
	case kindRetry:
		s.acks.push(&outcome{item: f.item})
		s.clearSuspicion(f)
		s.retries.acked(f)
		s.retries.refusals.accepted(f)
	case kindBirth:
		s.announcer.birthAcked = true
	}
}

// clearSuspicion removes an acknowledged reading from the suspects. A probe stays one until
// the broker has also sent it back.
func (s *session) clearSuspicion(f *sentMessage) {
	if f.probe == nil {
		delete(s.link.suspects, msgIDOf(&f.item))
	}
}

// subscribed handles a SUBACK. A denied topic does not end the session.
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
	case s.link.orders.noteDenied(denied.Topic):
		s.health.changed()
		if !unreadable[denied.Topic] {
			s.link.log.Error("no orders come: the broker's access list has to allow this client to read the topic",
				"topic", denied.Topic, "err", err)
		}
	case unreadable[denied.Topic]: // the log has it already
	case denied.Topic == s.link.opt.homeStatusTopic():
		s.link.log.Warn("the announcement is not repeated when Home Assistant restarts", "err", err)
	default:
		s.link.log.Warn("take-overs and late wills go unnoticed", "err", err)
	}
	unreadable[denied.Topic] = true
	return nil
}

// ackBacklog acknowledges to the backlog what is known to have arrived. While the backlog
// is held, the acknowledgements of the broker prove nothing.
func (s *session) ackBacklog() error {
	s.link.uptime = 0
	s.out.updateNow()
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

// due returns when tick has to run even if no event comes; never later than in a minute.
func (s *session) due() time.Time {
	if s.stopReason != nil {
		return s.stopBy
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

// tick does what is due at this time. An error ends the session.
func (s *session) tick() error {
	if err := s.processAnswers(); err != nil { // wait may not be woken by each answer, see refillsHalf
		return err
	}
	now := time.Now()
	if err := s.out.expired(now); err != nil {
		return err
	}
	s.announcer.reassert(now)
	if why := s.canary.checkTimeout(now); why != "" {
		s.hold(why)
	}
	if s.out.becomesStable(now) {
		s.link.journal.stable()
	}
	return s.ackBacklog() // it also gives up the probes whose time is over
}

// onMessage handles a message on one of the topics that the session has subscribed to.
func (s *session) onMessage(m mqtt.Message) {
	switch m.Topic {
	case s.link.topics.Agent("canary"):
		s.onCanary(string(m.Payload))
	case s.link.topics.Agent("status"):
		if s.stopReason == nil {
			s.lateWill.onStatus(string(m.Payload))
		}
	case s.link.topics.Agent("info"):
		s.announcer.onBirth(m)
	default:
		// A broker that resumes our session may send orders before their handlers are registered.
		if !s.link.orders.handleEarly(m) {
			s.announcer.onHomeAssistantStatus(m)
		}
	}
}

// onCanary handles a message on the topic of the canary. If the backlog was held, the
// broker has denied what was sent in this session: release sends it again.
func (s *session) onCanary(payload string) {
	proven, released := s.canary.onMessage(payload)
	if proven {
		s.announcer.announce()
	}
	if !released {
		return
	}
	s.release()
}

// release ends a hold: the backlog is sent again from its first item.
func (s *session) release() {
	s.canary.released()
	s.link.board.holds("")
	s.link.log.Info("uplink may publish: the backlog goes out")
	s.health.changed()
	s.history.cursor.Rewind()
	s.link.rejects.rewind() // kept items of a stream are sent before its new readings
	for i := range s.out.inflight.len() {
		if f := s.out.inflight.at(i); f.kind == kindHistory {
			f.kind = kindOther
		}
	}
}

// hold stops the sending of routine readings in this session. Alarms are still sent, but
// they stay in the queue, as the broker may drop them.
func (s *session) hold(why string) {
	if !s.canary.hold(why) {
		return
	}
	s.health.changed()
	s.announcer.announce()
	if s.out.hasReasonCodes {
		s.link.board.holds("the broker refuses what we publish: " + why)
		return // refusals logs it
	}
	s.link.board.holds("no proof that we may publish, agent/canary: " + why)
	s.probes.declareDoubted()
	s.canary.logHold()
}

// beginShutdown starts the orderly end of the session. It sends once more what is waiting:
// the outputs have just switched to their safe states.
func (s *session) beginShutdown(why error) {
	s.fill()
	s.stopReason, s.stopBy = why, time.Now().Add(inFlightGrace)
}

// sendLastStates sends the states that did not fit beside the backlog, and reports whether
// the session should wait for acknowledgements. Without these states, the retained state of
// an output would be the one before it became safe.
func (s *session) sendLastStates() bool {
	if !time.Now().Before(s.stopBy) {
		return false
	}
	// Without the distance between messages, which nothing ends here but an acknowledgement.
	for s.out.window.openToAlarm() && s.history.sendState(false) {
	}
	return s.out.inflight.len() > 0
}

// publishOffline publishes the message of the will, because the broker discards the will
// after an orderly DISCONNECT. It reports whether the broker has acknowledged the message
// within offlineTimeout.
func publishOffline(conn Conn, offline mqtt.Message, log *slog.Logger) bool {
	token := conn.Publish(offline)
	err := errors.New("not acknowledged in time")
	select {
	case <-token.Done():
		err = token.Error()
	case <-time.After(offlineTimeout):
	}
	if err != nil {
		log.Warn("offline was not acknowledged: the broker publishes the will", "err", err)
	}
	return err == nil
}
