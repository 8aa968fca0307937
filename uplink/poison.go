package uplink

import (
	"errors"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
)

const (
	closedAfter  = 5 * time.Second // a broker that closes for a message's sake does so in it
	suspectAfter = 2               // of the broker's closes in a row, with the message in flight
	rejectAfter  = 3               // of them, with the message alone in flight
	likelyAfter  = 2               // of them, if another message of its stream was convicted
	likelyFor    = 10 * time.Minute
	forgiveAfter = time.Minute // of a session: nobody is suspect any more
)

// suspects are messages that may be poison: a broker that does not want one has
// no word for it in MQTT 3.1.1, and closes the connection. Whoever sends it
// again does so for ever.
//
// While there are suspects, messages go one at a time. Guilty is the one that
// was alone in flight when the broker closed, soon after it was sent and after
// another was acknowledged in the same session, three times.
type suspects map[msgID]*strikes

// A deed is a message that can be blamed for the end of a session.
type msgID struct {
	stream, boot string // of an event, stream is empty
	seq          uint64
	state        bool // a stream's state, whatever it was
}

type strikes struct {
	closes int  // with the message in flight
	alone  int  // with nothing else in flight
	likely bool // another message of the stream was convicted a moment ago
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

// accuse takes note of what was in flight when the broker closed, and returns
// the message that is guilty, if one is. likely says that another message of a
// stream was convicted a moment ago.
func (all suspects) recordClose(flying []msgID, alone bool, likely func(stream string) bool) (isPoison msgID, found bool) {
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
	return isPoison, false
}

// any says that somebody is suspect.
func (all suspects) any() bool {
	for _, s := range all {
		if s.suspected() {
			return true
		}
	}
	return false
}

// inquire looks for who is to blame for the end of a session. A reset is the
// broker's that left unread what we sent behind the message, as Mosquitto does; one
// of the network's hits no message three times. A notice that was a suspect already takes all the blame.
func (s *session) onDisconnect(err error) {
	closed := errors.Is(err, errBrokerClosed) || errors.Is(err, syscall.ECONNRESET)
	if closed && s.blameProbe() {
		return
	}
	if alone := s.blameNotices(err); alone {
		s.expected = s.out.answered
		return
	}
	if !closed || !s.out.answered {
		return
	}
	alone := s.out.inflight.len() == 1 && time.Since(s.out.inflight.front().sent) < closedAfter
	if alone && s.out.inflight.front().kind == kindRetry {
		s.stillRejected(&s.out.inflight.front().item)
		return
	}
	var flying []msgID
	for i := range s.out.inflight.len() {
		switch f := s.out.inflight.at(i); f.kind {
		case kindHistory, kindRetry:
			flying = append(flying, msgIDOf(&f.item))
		case kindState:
			flying = append(flying, stateIDOf(f.stream))
		}
	}
	// A session that ends with a suspect alone in flight was to end: the next one
	// does not wait for long. Each message does so three times at most.
	s.expected = s.expected || alone && s.suspects.any()
	if d, found := s.suspects.recordClose(flying, alone, s.rejects.rejectedLately); found {
		s.rejectPoison(d)
	}
}

// careful says that nothing may go beside what is in flight: it may be what the
// broker closes for.
func (s *session) careful() bool {
	if s.out.inflight.len() == 0 || !s.trying && len(s.suspects) == 0 {
		return false
	}
	if time.Since(s.out.began) > forgiveAfter {
		clear(s.suspects)
	}
	return (s.trying || s.suspects.any()) && time.Now().Before(s.out.quietUntil())
}
