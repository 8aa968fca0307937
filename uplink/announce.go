package uplink

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"time"
)

// announce says what this agent is, and tells Home Assistant of its entities.
// In the first session it waits for the canary, behind which the broker has told
// what an earlier start left there: that is cleared first, or a power cut in
// between would leave it for ever.
func (s *session) announce() {
	if s.announced {
		return
	}
	s.announced = true
	s.birth.now()
	if s.opt.HomeAssistant.Discovery {
		s.discovery.now()
	}
}

// bootForm is that of queue.Queue.Boot.
var bootForm = regexp.MustCompile(`^[0-9]{1,20}-[0-9a-f]{8}$`)

// rebirthEvery is how often our birth is published over another's, at most.
const rebirthEvery = time.Minute

// birthNotice makes the birth. A large one is not heard again: the broker would
// send all of it back.
func (s *session) birthNotice(short bool) notice {
	m := s.opt.birthMessage(short, s.split)
	if len(m.Payload) > maxEcho && !s.opt.NoProof {
		s.out.unsubscribe(s.topics.agent("info"))
	}
	return notice{Message: m, kind: kindBirth}
}

// heardBirth takes a birth on our own topic. Anybody may publish there whom the
// broker lets: what does not have our form is nobody's birth.
func (s *session) heardBirth(m Message) {
	var b struct{ Boot string }
	if json.Unmarshal(m.Payload, &b) != nil || !bootForm.MatchString(b.Boot) {
		b.Boot = ""
	}
	switch {
	case b.Boot == s.opt.Boot && !m.Retain:
	case !m.Retain:
		s.replaceBirth()
	case b.Boot == "":
	case !s.birthSeenBefore && b.Boot != s.opt.Boot: // of our own earlier start, perhaps
		if !s.cleared {
			s.cleared = true
			s.clear(m.Payload)
		}
	default:
		s.foundRival(b.Boot)
	}
}

// replaceBirth publishes our birth again: another stands in its place.
func (s *session) replaceBirth() {
	if now := time.Now(); s.announced && s.birth.at.IsZero() && now.Sub(s.rebornAt) >= rebirthEvery {
		s.rebornAt = now
		s.birth.now()
	}
}

// beginShort begins with the forms that the previous start found to get through:
// the whole ones are tried later.
func (s *session) beginShort(previous []byte) {
	var was birth
	if json.Unmarshal(previous, &was) != nil {
		return
	}
	later := func(full noticeID, m Message) {
		if !s.records.known(full) {
			s.records.suspectOne(full, len(m.Topic)+len(m.Payload))
			s.records.postpone(full, time.Now())
		}
	}
	if was.Split && s.opt.HomeAssistant.Discovery {
		s.split = true
		later(noticeID{topic: s.entities.group.topic}, s.opt.Discovery())
	}
	if was.Truncated {
		later(noticeID{topic: s.topics.agent("info")}, s.opt.birthMessage(false, s.split))
	}
}

// clear takes away what the previous birth lists and this start does not feed.
func (s *session) clear(previous []byte) {
	s.beginShort(previous)
	if s.opt.NoRetain { // an empty message would clear nothing, and be taken for a state
		return
	}
	for _, m := range cleanup(previous, s.opt) {
		s.clears.all = append(s.clears.all, notice{Message: m})
	}
	if s.announced { // it came late: the birth stands on top again
		s.announced = false
		s.announce()
	}
}

// heardHome takes what Home Assistant says of itself. What is retained is from
// before this session, in which it was told already.
func (s *session) heardHome(m Message) {
	if s.opt.homeStarted(m) && !m.Retain && s.discovery.at.IsZero() {
		s.discovery.at = time.Now().Add(rediscoverAfter())
	}
}

// restateAfter is how long Home Assistant is given to subscribe to what it was
// told of.
const restateAfter = 5 * time.Second

// discover tells Home Assistant of our entities. Where the broker retains
// nothing, they have neither an availability nor a state until both are sent
// again.
func (s *session) discoveryNotice() notice {
	if s.opt.NoRetain {
		s.restate.at = time.Now().Add(restateAfter)
	}
	return notice{Message: s.opt.Discovery()}
}

func (s *session) restateNotice() notice {
	s.states.refresh()
	return notice{Message: s.status("online")}
}

const rediscoverWithin = 10 * time.Second

// rediscoverAfter is how long to wait before telling it: a start is busy, and a
// thousand devices hear of it at once.
func rediscoverAfter() time.Duration { return rand.N(rediscoverWithin) }

// singlesNotice makes the first of them; the others follow.
func (s *session) singleNotice() notice {
	msgs := s.opt.singles()
	s.entities.all = nil
	for _, m := range msgs[1:] {
		s.entities.all = append(s.entities.all, notice{Message: m})
	}
	return notice{Message: msgs[0]}
}

// announcedSingly takes note that all singles got through: the next start has to
// know of them.
func (s *session) announcedSingly() {
	if !s.split {
		s.split = true
		s.birth.now()
	}
}

// announcedWhole takes note that the announcement of all got through. While
// singles stand beside it, Home Assistant refuses its entities.
func (s *session) announcedWhole() {
	if !s.split {
		return
	}
	s.split = false
	for _, m := range s.opt.singles() {
		s.clears.all = append(s.clears.all, notice{Message: Message{Topic: m.Topic, Retain: true}})
	}
	s.discovery.now()
	s.birth.now()
}
