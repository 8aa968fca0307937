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
	goodbyeGrace = 3 * time.Second         // for what is in flight when the agent stops
	goodbyeTime  = time.Second             // for the goodbye itself
	goodbyeMost  = 4500 * time.Millisecond // for both, whatever blocks: then the connection is dropped
	retryRead    = time.Second             // after the backlog could not be read
)

var (
	errBetter = errors.New("a server that is preferred answers again")
	errNoAcks = errors.New("the broker has acknowledged nothing")
)

// A session is one connection from CONNECT to its loss. One goroutine sends
// and listens: it fills the window, and waits until something happens.
type session struct {
	*Link
	conn   Conn
	window window
	share  share
	slab   slab

	flight fifo[flight] // in the order in which they were sent
	alive  time.Time    // when the head of flight became it
	since  time.Time    // of the first acknowledgement; zero before
	lasts  bool         // it has been stable for long enough

	began    time.Time
	cursor   queue.Cursor
	aside    queue.Cursor // through what is set aside
	trying   bool         // something that was set aside goes alone, or will
	peeked   []queue.Item // beyond the cursor
	dry      bool         // there was nothing beyond it
	keptTurn bool         // what is kept of a stream goes before a routine reading
	released released     // acknowledged by the broker, and not to the backlog yet
	read     time.Time    // not before it the backlog is read again: it cannot be

	flying map[string]bool // streams whose state is in flight

	canary
	sources
	unconfirmed []flight // notices at QoS 0 that nothing was acknowledged behind; the latest of each
	answered    bool     // the broker has answered something

	told       bool      // the broker has acknowledged our birth
	bornBefore bool      // the broker had our birth before this session
	announced  bool      // the birth is on its way, or was
	met        string    // the boot of another's birth
	corrected  time.Time // when we last published our birth over another's

	leaving error // why the session ends in order
	until   time.Time
	timer   *time.Timer
}

// A flight is a message that the broker has not acknowledged.
type flight struct {
	Token
	passage
	kind     kind
	stream   string     // of a state
	item     queue.Item // of the history
	notice   notice
	isolated bool   // a notice that goes alone: it is a suspect
	probe    *probe // it is expected back
}

type kind uint8

const (
	kindOther kind = iota
	kindHistory
	kindState
	kindBirth
	kindOnce         // says nothing about the link
	kindSubscription // to the canary
	kindShelved      // of the history, and refused
	kindAside        // of what was refused, once more
	kindProbe        // a reading once more, to be heard
)

func newSession(l *Link, conn Conn) *session {
	most := l.opt.Drain.Window
	if most == 0 {
		most = DefaultWindow
	}
	s := &session{Link: l, conn: conn, window: window{most: most}, flying: map[string]bool{}, bornBefore: l.rival.born,
		timer: time.NewTimer(time.Hour)}
	s.newSources()
	return s
}

// run publishes until the connection is lost, or until what is in flight when
// ctx is done was acknowledged.
func (s *session) run(ctx context.Context) error {
	defer s.timer.Stop()
	s.began = time.Now()
	s.begin()
	for s.leaving == nil || s.flight.len() > 0 && time.Now().Before(s.until) {
		s.fill()
		if err := s.wait(ctx); err != nil {
			s.settle() // what was answered before the end: nothing of it is to blame, or has to be sent again
			return err
		}
	}
	if s.goodbye() {
		s.conn.Disconnect()
	}
	return s.leaving
}

// begin says that the agent is online and what it is; states follow.
func (s *session) begin() {
	s.declareDoubted()
	s.proofs.begin()
	s.asides.rewind()
	s.listen()
	s.online.now()
	s.prove()
	if s.bornBefore || s.trusted() { // else the canary is awaited: see announce
		s.announce()
	}
	s.states.refresh()
	s.healthChanged()
}

// publish sends a message and notes that it is in flight.
func (s *session) publish(m Message, f flight) {
	m.Retain = m.Retain && !s.opt.NoRetain
	size := len(m.Topic) + len(m.Payload) + overhead
	if f.probe != nil {
		size += probeBytes(m.Topic)
	}
	f.passage = s.window.send(size)
	f.Token = s.conn.Publish(m)
	s.launch(f)
}

func (s *session) launch(f flight) {
	if s.flight.len() == 0 {
		s.alive = time.Now()
	}
	s.flight.push(f)
}

// wait waits until something happens, and takes note of it.
func (s *session) wait(ctx context.Context) error {
	var head, stop, better <-chan struct{}
	if s.flight.len() > 0 {
		head = s.flight.front().Done()
	}
	if s.leaving == nil {
		stop, better = ctx.Done(), s.conn.Better()
	}
	lines := s.released.lists()
	s.timer.Reset(time.Until(s.due()))
	select {
	case <-head:
		return s.settle()
	case <-s.heardAhead(lines[0]):
		return s.ack()
	case <-s.heardAhead(lines[1]):
		return s.ack()
	case <-s.heardAhead(lines[2]):
		return s.ack()
	case <-s.backlog.Arrived():
	case <-s.states.changed:
	case m := <-s.conn.Heard():
		s.hear(m)
		return s.ack() // of what waited for the canary
	case <-s.conn.Done():
		return fmt.Errorf("connection lost: %w", s.conn.Err())
	case <-better:
		s.leave(errBetter)
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
	for s.flight.len() > 0 {
		f := s.flight.front()
		select {
		case <-f.Done():
		default:
			return s.ack()
		}
		if err := s.landed(f); err != nil {
			return err
		}
		s.flight.pop()
		s.alive = time.Now()
	}
	return s.ack()
}

// landed takes note that one message was acknowledged, or never will be.
func (s *session) landed(f *flight) error {
	err := f.Error()
	switch f.kind {
	case kindSubscription:
		s.window.gone(f.passage)
		return s.subscribed(f)
	case kindShelved:
		s.released.push(outcome{item: f.item, reject: true})
		return nil
	}
	if err != nil {
		return s.lost(err)
	}
	if f.kind == kindOnce {
		s.window.gone(f.passage)
		s.unconfirmed = append(slices.DeleteFunc(s.unconfirmed, f.sameNotice), *f)
		return nil
	}
	s.window.acked(f.passage)
	s.answered = true
	s.noticeArrived(f)
	if f.probe != nil {
		f.probe.acked = time.Now()
	}
	if s.since.IsZero() {
		s.since = time.Now()
		s.journal.up()
	}
	switch f.kind {
	case kindHistory:
		s.released.push(outcome{item: f.item, sent: f.sent})
		delete(s.suspects, deedOf(&f.item))
	case kindState:
		delete(s.flying, f.stream)
		delete(s.suspects, stateOf(f.stream))
	case kindAside:
		s.released.push(outcome{item: f.item})
		delete(s.suspects, deedOf(&f.item))
		s.trying = false
		if f.probe == nil {
			s.took(&f.item)
		}
	case kindBirth:
		s.told = true
	}
	return nil
}

// lost is the end of a connection that failed a message. The connection knows
// better why.
func (s *session) lost(err error) error {
	select {
	case <-s.conn.Done():
		err = s.conn.Err()
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
	for _, t := range [...]time.Time{s.read, s.window.next} {
		if t.After(now) { // else it waits for room in the window
			sooner(t)
		}
	}
	if !s.pace.next.IsZero() { // it may have passed since fill asked
		sooner(s.pace.next)
	}
	if s.flight.len() > 0 {
		sooner(s.alive.Add(s.opt.bounds().ack))
	}
	if !s.since.IsZero() && !s.lasts {
		sooner(s.since.Add(stable))
	}
	if !s.canary.next.IsZero() {
		sooner(s.canary.next)
	}
	if s.careful() {
		sooner(s.quietUntil())
	}
	for _, t := range [...]time.Time{s.probesDue(), s.asides.heldDue()} {
		if t.After(now) {
			sooner(t)
		}
	}
	if at := s.sources.next(now); !at.IsZero() {
		sooner(at)
	}
	if len(s.records) > 0 {
		for _, t := range [...]time.Time{s.began.Add(suspectWait), s.quietUntil()} {
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
	if patience := s.opt.bounds().ack; s.flight.len() > 0 && now.Sub(s.alive) >= patience {
		return fmt.Errorf("%w for %v", errNoAcks, patience)
	}
	if !s.canary.next.IsZero() && !now.Before(s.canary.next) {
		s.doubt()
	}
	if !s.since.IsZero() && !s.lasts && now.Sub(s.since) >= stable {
		s.lasts = true
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
	token := s.conn.Publish(s.status("offline"))
	err := errors.New("not acknowledged in time")
	select {
	case <-token.Done():
		err = token.Error()
	case <-time.After(goodbyeTime):
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
		s.sang(m)
	case s.topics.agent("status"):
		s.heardStatus(string(m.Payload))
	case s.topics.agent("info"):
		s.heardBirth(m)
	default:
		s.heardHome(m)
	}
}
