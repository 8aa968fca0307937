package uplink

import (
	"encoding/json"
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

// heardBirth takes a birth on our own topic.
func (s *session) heardBirth(m Message) {
	var b struct{ Boot string }
	if json.Unmarshal(m.Payload, &b) != nil || b.Boot == "" {
		return
	}
	if m.Retain && !s.bornBefore && b.Boot != s.opt.Boot { // of our own earlier start, perhaps
		if !s.cleared {
			s.cleared = true
			s.clear(m.Payload)
		}
		return
	}
	s.rivalBorn(b.Boot, m.Retain)
}

// clear takes away what the previous birth lists and this start does not feed.
func (s *session) clear(previous []byte) {
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
