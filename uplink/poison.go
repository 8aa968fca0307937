package uplink

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const (
	closedAfter  = 5 * time.Second // a broker that closes for a message's sake does so in it
	suspectAfter = 2               // of the broker's closes in a row, with the message in flight
	rejectAfter  = 3               // of them, with the message alone in flight
	likelyAfter  = 2               // of them, if another message of its stream was rejected a moment ago
	likelyFor    = 10 * time.Minute
	forgiveAfter = time.Minute // of a session: nothing is a suspect any more
)

// suspects are messages that may be poison: a broker that does not want one has
// no word for it in MQTT 3.1.1, and closes the connection. Whoever sends it
// again does so for ever.
//
// While there are suspects, messages go one at a time. A message is poison if three
// times the broker closed the connection while that message was alone in flight,
// soon after it was sent, and after it had acknowledged another message in the
// same session.
type suspects map[msgID]*strikes

// A msgID names a message that the broker may have closed the connection for.
type msgID struct {
	stream, boot string // of an event, stream is empty
	seq          uint64
	state        bool // a stream's state, whatever it was
}

// strikes are the broker's closes that a message was in flight at.
type strikes struct {
	closes int  // with the message in flight
	alone  int  // with nothing else in flight
	likely bool // another message of the stream was rejected a moment ago
}

// suspected says that the message is to go alone.
func (s *strikes) suspected() bool { return s.likely || s.closes >= suspectAfter }

func (s *strikes) isPoison() bool {
	if s.likely {
		return s.alone >= likelyAfter
	}
	return s.alone >= rejectAfter
}

func msgIDOf(it *queue.Item) msgID { return msgID{stream: it.Stream, boot: it.Boot, seq: it.Seq} }

func stateIDOf(stream string) msgID { return msgID{stream: stream, state: true} }

// recordClose takes note of what was in flight when the broker closed the
// connection, and returns the message that is poison now, if one is. alone says
// that nothing else was in flight; likely, that another message of a stream was
// rejected a moment ago.
func (all suspects) recordClose(flying []msgID, alone bool, likely func(string) bool) (poison msgID, found bool) {
	for _, d := range flying {
		if all[d] == nil {
			all[d] = &strikes{}
		}
		all[d].closes++
		if alone {
			all[d].alone++
		}
		all[d].likely = likely(d.stream)
		if all[d].isPoison() {
			delete(all, d)
			return d, true
		}
	}
	return poison, false
}

// any says that a message is a suspect.
func (all suspects) any() bool {
	for _, s := range all {
		if s.suspected() {
			return true
		}
	}
	return false
}

// onDisconnect looks for the message that the broker closed the connection for.
// It reports whether the session was to end, since a suspect went alone: then the
// next one does not wait for long. Each message does so three times at most.
//
// A reset counts as a close: a broker that left unread what we sent behind the
// message resets, as Mosquitto does. A reset of the network does not meet one
// message three times. A notice that was a suspect already takes all the blame.
func (s *session) onDisconnect(err error) (expected bool) {
	ignored := s.ignored(err)
	if ignored {
		err = fmt.Errorf("%w, and it answers pings", err)
	}
	closed := ignored || errors.Is(err, mqtt.ErrBrokerClosed) || errors.Is(err, syscall.ECONNRESET)
	if closed && s.probes.blame() {
		return false
	}
	if alone := s.notices.blame(err, s.stopReason != nil); alone {
		return s.out.answered
	}
	if !closed || !s.out.answered {
		return false
	}
	inflight, unheard, flying := s.out.inflight.len(), s.unheard(), s.out.blamable(s.out.inflight.len())
	alone := inflight == 1 && time.Since(s.out.inflight.front().sent) < closedAfter
	if ignored && s.out.wasAlone() {
		alone, flying = true, s.out.blamable(1)
	}
	if alone && s.out.inflight.front().kind == kindRetry {
		s.retries.stillRejected(&s.out.inflight.front().item, err)
		return false
	}
	unheardAlone := inflight == 0 && len(unheard) == 1
	expected = (alone || unheardAlone) && s.link.suspects.any()
	id, found := s.link.suspects.recordClose(flying, alone, s.link.rejects.rejectedLately)
	if !found {
		id, found = s.link.suspects.recordClose(unheard, unheardAlone, s.link.rejects.rejectedLately)
	}
	if found {
		s.retries.rejectPoison(id, err)
	}
	return expected
}

// ignored reports whether the session ended since the broker acknowledges nothing any
// more although it reads what is sent: it has answered a PINGREQ that was sent behind the
// oldest message in flight. RabbitMQ 3.10 does so behind a message beyond its
// max_message_size, and keeps the connection.
func (s *session) ignored(err error) bool {
	every := s.link.opt.KeepAlive
	return errors.Is(err, errNoAcks) && every > 0 && every < s.out.ackTimeout && s.out.conn.Responds()
}

// wasAlone reports whether the oldest message in flight was alone there for as long as
// nothing goes beside a suspect.
func (o *outgoing) wasAlone() bool {
	return o.inflight.len() == 1 || o.inflight.len() > 1 &&
		o.inflight.at(1).sent.Sub(o.inflight.front().sent) >= closedAfter
}

// unheard are the messages that the broker acknowledged and may have closed for.
func (s *session) unheard() (ids []msgID) {
	for _, pr := range s.link.proofs.unheard() {
		ids = append(ids, msgIDOf(&pr.item))
	}
	return ids
}

// blamable are those of the n oldest messages in flight that the broker may have closed
// for, but for notices.
func (o *outgoing) blamable(n int) (ids []msgID) {
	for i := range n {
		switch f := o.inflight.at(i); f.kind {
		case kindHistory, kindRetry:
			ids = append(ids, msgIDOf(&f.item))
		case kindState:
			ids = append(ids, stateIDOf(f.stream))
		}
	}
	return ids
}

// mustWait says that nothing may go beside what is in flight: it may be what the
// broker closes for.
func (t *retries) mustWait() bool {
	suspects, trying := t.link.suspects, t.trying
	if !trying && len(suspects) == 0 {
		return false
	}
	until := t.quietUntil()
	if until.IsZero() {
		return false
	}
	if time.Since(t.out.began) > forgiveAfter {
		clear(suspects)
	}
	return (trying || suspects.any()) && time.Now().Before(until)
}

// quietUntil is when the broker would have closed the connection for what was sent
// last, or for a probe that it has not forwarded; zero: there is neither.
func (t *retries) quietUntil() time.Time {
	until := t.out.quietUntil()
	for _, pr := range t.link.proofs.unheard() {
		if at := pr.acked.Add(closedAfter); at.After(until) {
			until = at
		}
	}
	return until
}
