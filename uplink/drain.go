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
	s.peeked, s.dry = nil, false // an alarm may have arrived
	s.pace.next = time.Time{}
	for s.sendNext() {
	}
}

// sendNext sends one message, if there is one and room for it: the notices that
// routine readings wait for, alarms, other notices, then states in their share,
// then routine readings. What sessions ended with comes last, and alone.
func (s *session) sendNext() bool {
	if s.window.openToAlarm() && s.sendNotice(s.urgent) {
		return true
	}
	if s.careful() {
		return false
	}
	if s.trying && s.tryAside() {
		return true
	}
	it := s.peek()
	unwanted := it != nil && s.asides.unwanted(it)
	alarm := it != nil && !unwanted && it.Priority == sensors.Alarm
	routine := it != nil && !unwanted && !alarm && s.entrusted() && s.mayGo(it) && !s.released.full(it.Priority)
	switch {
	case unwanted && s.trusted() && s.flight.len() < 2*s.window.most:
		s.shelve(it)
	case unwanted && s.held != "": // it is sent when the others are
		s.cursor.Pass(*it)
		s.peeked = s.peeked[1:]
	case s.beginsWithSuspect():
		return s.sendSuspect()
	case alarm && s.window.openToAlarm() && !s.released.full(it.Priority):
		s.sendItem(it)
	case s.asksForAnswer() && (s.sendState(false) || s.sendRoutine(it)):
	case s.isolating():
		return s.sendSuspect()
	case !s.window.open():
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
	if len(s.peeked) == 0 && !s.dry && s.window.openToAlarm() && !time.Now().Before(s.read) {
		s.peeked = s.look(s.window.most - s.window.messages)
		s.dry = len(s.peeked) == 0
	}
	if len(s.peeked) == 0 {
		return nil
	}
	return &s.peeked[0]
}

func (s *session) look(most int) []queue.Item {
	items, err := s.backlog.Ahead(&s.cursor, most)
	switch {
	case err == nil:
		s.read = time.Time{}
		return items
	case s.read.IsZero():
		s.log.Error("backlog cannot be read", "err", err, "retry_every", retryRead)
	}
	s.read = time.Now().Add(retryRead)
	return nil
}

// sendState sends a state that changed, if there is one and the history leaves
// room for it. A state that changes while it is in flight waits.
func (s *session) sendState(busy bool) bool {
	if busy && !s.share.allows() {
		return false
	}
	r, ok := s.states.next(s.flying, s.asides.mute)
	if !ok {
		return false
	}
	m := s.state(r)
	s.flying[r.Stream] = true
	s.publish(m, flight{kind: kindState, stream: r.Stream})
	if busy {
		s.share.state(len(m.Topic) + len(m.Payload))
	}
	return true
}

// sendRoutine sends an item, if there is one that the broker takes.
func (s *session) sendRoutine(it *queue.Item) bool {
	if it == nil || s.asides.unwanted(it) {
		return false
	}
	s.sendItem(it)
	return true
}

func (s *session) sendItem(it *queue.Item) {
	m, f := s.message(it), flight{kind: kindHistory, item: *it}
	if s.mayProbe() && s.proofs.due(it.Stream, time.Now()) {
		s.sendProbe(it.Stream, m, f, false)
	} else {
		s.publish(m, f)
	}
	s.cursor.Pass(*it)
	s.peeked = s.peeked[1:]
	s.share.history(len(m.Topic) + len(m.Payload))
}

// message is an item as it is published.
func (s *session) message(it *queue.Item) Message {
	return Message{Topic: s.topics.ofHistory(it.Stream), Payload: s.slab.cut(AppendPayload(s.slab.room(), *it, s.historical(*it)))}
}

// A share gives states a third of a busy link at most: a state may go when
// twice as many bytes of history went since.
type share struct{ credit int }

// enough for a few states at once, after a time without any.
const mostCredit = 2048

func (s *share) allows() bool { return s.credit >= 0 }
func (s *share) state(n int)  { s.credit -= 2 * n }
func (s *share) history(n int) {
	s.credit = min(s.credit+n, mostCredit)
}

// A slab is where payloads are written one behind the other. The MQTT library
// keeps them until they are acknowledged, so none is used twice.
type slab struct{ buf []byte }

const slabSize = 16 << 10

// room is an empty slice with room for a payload.
func (s *slab) room() []byte {
	if cap(s.buf)-len(s.buf) < 512 {
		s.buf = make([]byte, 0, slabSize)
	}
	return s.buf[len(s.buf):]
}

// cut takes a payload that was appended to room.
func (s *slab) cut(payload []byte) []byte {
	if n := len(s.buf) + len(payload); n <= cap(s.buf) && len(payload) > 0 && &payload[0] == &s.buf[:n][len(s.buf)] {
		s.buf = s.buf[:n]
	}
	return payload[:len(payload):len(payload)]
}
