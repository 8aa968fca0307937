package uplink

import "time"

// correctEvery is how often we say again that we are online, at most: whoever
// says otherwise all the time is no late will.
const correctEvery = time.Second

// A lateWill is one that the broker sends when it notices that an earlier
// connection is dead, which may be after we are back: we say again that we are
// online. The first time is at the start of the session.
type lateWill struct {
	once
	said      bool
	echoed    bool      // we heard that we are online
	corrected time.Time // when we last said so again
}

// heardStatus takes what the broker says of us.
func (s *session) heardStatus(word string) {
	l := &s.online
	switch {
	case word == "online":
		l.echoed = true
	case l.echoed && s.leaving == nil:
		l.echoed = false
		l.at = l.corrected.Add(correctEvery)
	}
}

func (s *session) onlineNotice() notice {
	l := &s.online
	if l.said && l.corrected.IsZero() && s.journal.once("late will") {
		s.log.Info("a late will is corrected")
	}
	if l.said {
		l.corrected = time.Now()
	}
	l.said = true
	return notice{Message: s.status("online")}
}
