package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// fill sends as much as the window has room for.
func (s *session) fill() {
	if s.leaving != nil {
		return
	}
	s.peeked, s.drained = nil, false // an alarm may have arrived
	s.pace.next = time.Time{}
	for s.sendNext() {
	}
}

// sendNext sends one message, if there is one and room for it: the notices that
// routine readings wait for, alarms, other notices, then states in their share,
// then routine readings. What sessions ended with comes last, and alone.
func (s *session) sendNext() bool {
	if s.out.window.openToAlarm() && s.sendNotice(s.urgent) {
		return true
	}
	if s.careful() {
		return false
	}
	if s.trying && s.tryAside() {
		return true
	}
	it := s.peek()
	isRejected := it != nil && s.rejects.isRejected(it)
	alarm := it != nil && !isRejected && it.Priority == sensors.Alarm
	routine := it != nil && !isRejected && !alarm && s.routineAllowed() && s.mayGo(it) && !s.released.full(it.Priority)
	switch {
	case isRejected && s.acksProven() && s.out.inflight.len() < 2*s.out.window.most:
		s.divert(it)
	case isRejected && s.held != "": // it is sent when the others are
		s.cursor.Advance(*it)
		s.peeked = s.peeked[1:]
	case s.beginsWithSuspect():
		return s.sendSuspect()
	case alarm && s.out.window.openToAlarm() && !s.released.full(it.Priority):
		s.sendItem(it)
	case s.asksForAnswer() && (s.sendState(false) || s.sendRoutine(it)):
	case s.isolating():
		return s.sendSuspect()
	case !s.out.window.open():
		return false
	case s.sendNotice(s.others):
	case s.sendState(routine):
	case (s.keptTurn || !routine) && s.tryHeld():
		s.keptTurn = false
	case routine:
		s.keptTurn = true
		s.pace.pass()
		s.sendRoutine(it)
	case s.tryAside():
	case s.sendSuspect():
	default:
		return false
	}
	return true
}

// peek is the oldest item of the backlog that was not sent in this session; nil
// if there is none.
func (s *session) peek() *queue.Item {
	if len(s.peeked) == 0 && !s.drained && s.out.window.openToAlarm() && !time.Now().Before(s.readAgainAt) {
		s.peeked = s.look(s.out.window.most - s.out.window.messages)
		s.drained = len(s.peeked) == 0
	}
	if len(s.peeked) == 0 {
		return nil
	}
	return &s.peeked[0]
}

func (s *session) look(most int) []queue.Item {
	items, err := s.backlog.Peek(&s.cursor, most)
	switch {
	case err == nil:
		s.readAgainAt = time.Time{}
		return items
	case s.readAgainAt.IsZero():
		s.log.Error("backlog cannot be read", "err", err, "retry_every", retryRead)
	}
	s.readAgainAt = time.Now().Add(retryRead)
	return nil
}

// sendState sends a state that changed, if there is one and the history leaves
// room for it. A state that changes while it is in flight waits.
func (s *session) sendState(busy bool) bool {
	if busy && !s.stateShare.allows() {
		return false
	}
	r, ok := s.states.next(s.flying, s.rejects.mutedStates)
	if !ok {
		return false
	}
	m := s.state(r)
	s.flying[r.Stream] = true
	s.out.publish(m, sentMessage{kind: kindState, stream: r.Stream})
	if busy {
		s.stateShare.state(len(m.Topic) + len(m.Payload))
	}
	return true
}

// sendRoutine sends an item, if there is one that the broker takes.
func (s *session) sendRoutine(it *queue.Item) bool {
	if it == nil || s.rejects.isRejected(it) {
		return false
	}
	s.sendItem(it)
	return true
}

func (s *session) sendItem(it *queue.Item) {
	m, f := s.message(it), sentMessage{kind: kindHistory, item: *it}
	if s.mayProbe() && s.proofs.due(it.Stream, time.Now()) {
		s.sendProbe(it.Stream, m, f, false)
	} else {
		s.out.publish(m, f)
	}
	s.cursor.Advance(*it)
	s.peeked = s.peeked[1:]
	s.stateShare.history(len(m.Topic) + len(m.Payload))
}

// message is an item as it is published.
func (s *session) message(it *queue.Item) Message {
	return Message{Topic: s.topics.ofHistory(it.Stream), Payload: s.payloadBuf.cut(AppendPayload(s.payloadBuf.room(), *it, s.historical(*it)))}
}

// A stateShare gives states a third of a busy link at most: a state may go when
// twice as many bytes of history went since.
type stateShare struct{ credit int }

// enough for a few states at once, after a time without any.
const maxCredit = 2048

func (s *stateShare) allows() bool { return s.credit >= 0 }
func (s *stateShare) state(n int)  { s.credit -= 2 * n }
func (s *stateShare) history(n int) {
	s.credit = min(s.credit+n, maxCredit)
}

// A slab is where payloads are written one behind the other. The MQTT library
// keeps them until they are acknowledged, so none is used twice.
type payloadBuf struct{ buf []byte }

const payloadBufSize = 16 << 10

// room is an empty slice with room for a payload.
func (s *payloadBuf) room() []byte {
	if cap(s.buf)-len(s.buf) < 512 {
		s.buf = make([]byte, 0, payloadBufSize)
	}
	return s.buf[len(s.buf):]
}

// cut takes a payload that was appended to room.
func (s *payloadBuf) cut(payload []byte) []byte {
	if n := len(s.buf) + len(payload); n <= cap(s.buf) && len(payload) > 0 && &payload[0] == &s.buf[:n][len(s.buf)] {
		s.buf = s.buf[:n]
	}
	return payload[:len(payload):len(payload)]
}
