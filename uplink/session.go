package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
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
)

// A session is one connection from CONNECT to its loss. One goroutine sends
// and listens: it fills the window, and waits until something happens.
type session struct {
	*Link
	out        *outgoing
	stateShare stateShare
	payloadBuf payloadBuf

	cursor      queue.Cursor
	aside       queue.Cursor // through what is set aside
	trying      bool         // something that was set aside goes alone, or will
	peeked      []queue.Item // beyond the cursor
	drained     bool         // there was nothing beyond it
	keptTurn    bool         // what is kept of a stream goes before a routine reading
	released    released     // acknowledged by the broker, and not to the backlog yet
	readAgainAt time.Time    // not before it the backlog is read again: it cannot be

	flying map[string]bool // streams whose state is in flight

	canary
	sources
	unconfirmed []sentMessage // notices at QoS 0 that nothing was acknowledged behind; the latest of each

	birthAcked      bool      // the broker has acknowledged our birth
	birthSeenBefore bool      // the broker had our birth before this session
	announced       bool      // the birth is on its way, or was
	rivalSeen       string    // the boot of another's birth
	rebornAt        time.Time // when we last published our birth over another's

	leaving error // why the session ends in order
	until   time.Time
	timer   *time.Timer
}

func newSession(l *Link, conn Conn) *session {
	s := &session{Link: l, out: newOutgoing(conn, l.opt), flying: map[string]bool{}, birthSeenBefore: l.rival.born,
		timer: time.NewTimer(time.Hour)}
	s.newSources()
	return s
}

// run publishes until the connection is lost, or until what is in flight when
// ctx is done was acknowledged.
func (s *session) run(ctx context.Context) error {
	defer s.timer.Stop()
	s.out.began = time.Now()
	s.begin()
	for s.leaving == nil || s.out.inflight.len() > 0 && time.Now().Before(s.until) {
		s.fill()
		if err := s.wait(ctx); err != nil {
			s.settle() // what was answered before the end: nothing of it is to blame, or has to be sent again
			return err
		}
	}
	if s.goodbye() {
		s.out.conn.Disconnect()
	}
	return s.leaving
}

// begin says that the agent is online and what it is; states follow.
func (s *session) begin() {
	s.declareDoubted()
	s.proofs.begin()
	s.rejects.rewind()
	s.listen()
	s.online.now()
	s.prove()
	if s.birthSeenBefore || s.acksProven() { // else the canary is awaited: see announce
		s.announce()
	}
	s.states.refresh()
	s.healthChanged()
}

// wait waits until something happens, and takes note of it.
func (s *session) wait(ctx context.Context) error {
	var stop, better <-chan struct{}
	if s.leaving == nil {
		stop, better = ctx.Done(), s.out.conn.Better()
	}
	lines := s.released.lists()
	s.timer.Reset(time.Until(s.due()))
	select {
	case <-s.out.done():
		return s.settle()
	case <-s.heardAhead(lines[0]):
		return s.ack()
	case <-s.heardAhead(lines[1]):
		return s.ack()
	case <-s.heardAhead(lines[2]):
		return s.ack()
	case <-s.backlog.Arrived():
	case <-s.states.changed:
	case m := <-s.out.conn.Heard():
		s.hear(m)
		return s.ack() // of what waited for the canary
	case <-s.out.conn.Done():
		return fmt.Errorf("connection lost: %w", s.out.conn.Err())
	case <-better:
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
	for s.out.inflight.len() > 0 {
		f := s.out.inflight.front()
		select {
		case <-f.Done():
		default:
			return s.ack()
		}
		if err := s.completed(f); err != nil {
			return err
		}
		s.out.pop()
	}
	return s.ack()
}

// landed takes note that one message was acknowledged, or never will be.
func (s *session) completed(f *sentMessage) error {
	err := f.Error()
	switch f.kind {
	case kindSubscription:
		s.out.window.gone(f.slot)
		return s.subscribed(f)
	case kindDiverted:
		s.released.push(outcome{item: f.item, reject: true})
		return nil
	}
	if err != nil {
		return s.lost(err)
	}
	if f.kind == kindOnce {
		s.out.window.gone(f.slot)
		s.unconfirmed = append(slices.DeleteFunc(s.unconfirmed, f.sameNotice), *f)
		return nil
	}
	first := s.out.acked(f)
	s.noticeArrived(f)
	if first {
		s.journal.up()
	}
	switch f.kind {
	case kindHistory:
		s.released.push(outcome{item: f.item, sent: f.sent})
		delete(s.suspects, msgIDOf(&f.item))
	case kindState:
		delete(s.flying, f.stream)
		delete(s.suspects, stateIDOf(f.stream))
	case kindRetry:
		s.released.push(outcome{item: f.item})
		delete(s.suspects, msgIDOf(&f.item))
		s.trying = false
		if f.probe == nil {
			s.accepted(&f.item)
		}
	case kindBirth:
		s.birthAcked = true
	}
	return nil
}

// lost is the end of a connection that failed a message. The connection knows
// better why.
func (s *session) lost(err error) error {
	select {
	case <-s.out.conn.Done():
		err = s.out.conn.Err()
	case <-time.After(time.Second):
	}
	return fmt.Errorf("connection lost: %w", err)
}

// due is when something has to be done even if nothing happens.
func (s *session) due() time.Time {
	now := time.Now()
	if s.leaving != nil {
		return s.until
	}
	next := now.Add(time.Minute)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, t := range [...]time.Time{ifAfter(s.readAgainAt, now), s.out.due(now), s.pace.next} {
		if !t.IsZero() {
			sooner(t)
		}
	}
	if !s.canary.next.IsZero() {
		sooner(s.canary.next)
	}
	if s.careful() {
		sooner(s.out.quietUntil())
	}
	for _, t := range [...]time.Time{s.probesDue(), s.rejects.heldDue()} {
		if t.After(now) {
			sooner(t)
		}
	}
	if at := s.sources.next(now); !at.IsZero() {
		sooner(at)
	}
	if len(s.records) > 0 {
		for _, t := range [...]time.Time{s.out.began.Add(suspectWait), s.out.quietUntil()} {
			if t.After(now) {
				sooner(t)
			}
		}
	}
	return next
}

// tick does what is due.
func (s *session) tick() error {
	now := time.Now()
	if err := s.out.expired(now); err != nil {
		return err
	}
	if !s.canary.next.IsZero() && !now.Before(s.canary.next) {
		s.doubt()
	}
	if s.out.becomesStable(now) {
		s.journal.stable()
	}
	return s.ack() // or give up what should have been heard by now
}

// leave lets the session end in order.
func (s *session) leave(why error) {
	s.leaving, s.until = why, time.Now().Add(goodbyeGrace)
}

// goodbye is the offline message that we send ourselves: an orderly disconnect
// suppresses the will. It reports whether the broker has it.
func (s *session) goodbye() bool {
	token := s.out.conn.Publish(s.status("offline"))
	err := errors.New("not acknowledged in time")
	select {
	case <-token.Done():
		err = token.Error()
	case <-time.After(offlineTimeout):
	}
	if err != nil {
		s.log.Warn("no goodbye: the broker will send the will", "err", err)
	}
	return err == nil
}

// hear takes a message on one of the topics subscribed to.
func (s *session) hear(m Message) {
	switch m.Topic {
	case s.topics.agent("canary"):
		s.canaryHeard(m)
	case s.topics.agent("status"):
		s.heardStatus(string(m.Payload))
	case s.topics.agent("info"):
		s.heardBirth(m)
	default:
		s.heardHome(m)
	}
}
