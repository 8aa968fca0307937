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
	closedAfter        = 5 * time.Second  // a broker that closes because of a message does so within this time
	suspectAfter       = 2                // closes with the message in flight: from then on it is sent alone
	rejectAfter        = 3                // closes with only this message in flight: it is poison
	rejectAfterSibling = 2                // the same, if another message of its stream was rejected recently
	siblingPeriod      = 10 * time.Minute // what "recently" means
	clearSuspectsAfter = time.Minute      // a session that lasts so long clears all suspicions
)

// suspects are messages that may be poison. A broker of MQTT 3.1.1 cannot reject a
// message other than by closing the connection. An agent that always sends the message
// again would never get past it.
//
// While there are suspects, messages are sent one at a time. A message is poison if the
// broker closed the connection rejectAfter times soon after the message was sent, with
// nothing else in flight, and after it had acknowledged another message in the same
// session.
type suspects map[msgID]*closeCounts

// A msgID identifies a message for which the broker may have closed the connection.
type msgID struct {
	stream, boot string // stream is empty for an event
	seq          uint64
	state        bool // any state of the stream; then boot and seq are not set
}

// closeCounts counts how often the broker closed the connection while a message was in
// flight.
type closeCounts struct {
	closes          int  // with the message in flight
	alone           int  // with only the message in flight
	siblingRejected bool // another message of the stream was rejected recently
}

// suspected reports whether the message has to be sent alone.
func (s *closeCounts) suspected() bool { return s.siblingRejected || s.closes >= suspectAfter }

func (s *closeCounts) isPoison() bool {
	if s.siblingRejected {
		return s.alone >= rejectAfterSibling
	}
	return s.alone >= rejectAfter
}

func msgIDOf(it *queue.Item) msgID { return msgID{stream: it.Stream, boot: it.Boot, seq: it.Seq} }

func stateIDOf(stream string) msgID { return msgID{stream: stream, state: true} }

// recordClose records the messages that were in flight when the broker closed the
// connection. It returns the first one that is poison now, if any. alone means that only
// one message was in flight. rejectedRecently tells that of a stream.
func (all suspects) recordClose(inflight []msgID, alone bool,
	rejectedRecently func(stream string) bool) (poison msgID, found bool) {
	for _, d := range inflight {
		if all[d] == nil {
			all[d] = &closeCounts{}
		}
		all[d].closes++
		if alone {
			all[d].alone++
		}
		all[d].siblingRejected = rejectedRecently(d.stream)
		if all[d].isPoison() {
			delete(all, d)
			return d, true
		}
	}
	return poison, false
}

// any reports whether any message has to be sent alone.
func (all suspects) any() bool {
	for _, s := range all {
		if s.suspected() {
			return true
		}
	}
	return false
}

// onDisconnect decides which messages may be the reason for the end of a session, and
// records that. It returns true if the end was expected because a suspect was sent alone:
// then the next session begins soon. That happens at most three times for a message.
//
// A TCP reset counts as a close: if a broker closes a socket with unread data, as
// Mosquitto does, the kernel sends a reset. It is improbable that resets by the network
// meet the same message three times. If a suspected notice was in flight alone, nothing
// else is suspected.
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
	inflight, unheard, candidates := s.out.inflight.len(), s.unheard(), s.out.blamable(s.out.inflight.len())
	alone := inflight == 1 && time.Since(s.out.inflight.front().sent) < closedAfter
	if ignored && s.out.wasAlone() {
		alone, candidates = true, s.out.blamable(1)
	}
	if alone && s.out.inflight.front().kind == kindRetry {
		s.retries.stillRejected(&s.out.inflight.front().item, err)
		return false
	}
	unheardAlone := inflight == 0 && len(unheard) == 1
	expected = (alone || unheardAlone) && s.link.suspects.any()
	id, found := s.link.suspects.recordClose(candidates, alone, s.link.rejects.rejectedRecently)
	if !found {
		id, found = s.link.suspects.recordClose(unheard, unheardAlone, s.link.rejects.rejectedRecently)
	}
	if found {
		s.retries.rejectPoison(id, err)
	}
	return expected
}

// ignored reports whether the session ended because the broker stopped acknowledging
// although it still reads: it answered a PINGREQ that was sent after the oldest message in
// flight. RabbitMQ 3.10 does that after a message above its max_message_size.
func (s *session) ignored(err error) bool {
	every := s.link.opt.KeepAlive
	return errors.Is(err, errNoAcks) && every > 0 && every < s.out.ackTimeout && s.out.conn.Responds()
}

// wasAlone reports whether the oldest message in flight was alone for at least closedAfter.
func (o *outgoing) wasAlone() bool {
	return o.inflight.len() == 1 || o.inflight.len() > 1 &&
		o.inflight.at(1).sent.Sub(o.inflight.front().sent) >= closedAfter
}

// unheard returns the probes that the broker has acknowledged but not forwarded: it may
// have closed the connection because of them.
func (s *session) unheard() (ids []msgID) {
	for _, pr := range s.link.proofs.unheard() {
		ids = append(ids, msgIDOf(&pr.item))
	}
	return ids
}

// blamable returns which of the n oldest messages in flight the broker may have closed the
// connection for, without notices.
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

// mustWait reports whether nothing more may be sent now, because the message in flight may
// make the broker close the connection.
func (t *retries) mustWait() bool {
	suspects, trying := t.link.suspects, t.trying
	if !trying && len(suspects) == 0 {
		return false
	}
	until := t.quietUntil()
	if until.IsZero() {
		return false
	}
	if time.Since(t.out.began) > clearSuspectsAfter {
		clear(suspects)
	}
	return (trying || suspects.any()) && time.Now().Before(until)
}

// quietUntil returns the time by which the broker would have closed the connection because
// of the last message, or of a probe that it has not forwarded; zero: there is neither.
func (t *retries) quietUntil() time.Time {
	until := t.out.quietUntil()
	for _, pr := range t.link.proofs.unheard() {
		if at := pr.acked.Add(closedAfter); at.After(until) {
			until = at
		}
	}
	return until
}
