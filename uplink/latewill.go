package uplink

import "time"

// correctEvery is how often we say again that we are online, at most: whoever
// says otherwise all the time is no late will.
const correctEvery = time.Second

// A lateWill is one that the broker sends when it notices that an earlier
// connection is dead, which may be after we are back.
type lateWill struct {
	echoed    bool      // we heard that we are online
	corrected time.Time // when we last said so again
	due       time.Time // when to do so; zero: it is not
}

// heardStatus takes what the broker says of us.
func (s *session) heardStatus(word string) {
	switch {
	case word == "online":
		s.late.echoed = true
	case s.late.echoed && s.leaving == nil:
		s.late.echoed = false
		s.late.due = s.late.corrected.Add(correctEvery)
	}
}

// correct says again that we are online, when that is due.
func (s *session) correct() {
	now := time.Now()
	if s.late.due.IsZero() || now.Before(s.late.due) {
		return
	}
	if s.late.corrected.IsZero() {
		s.log.Info("a late will is corrected")
	}
	s.late.due, s.late.corrected = time.Time{}, now
	s.first = append(s.first, saying{Message: s.status("online")})
}
