package uplink

import "time"

// correctEvery is how often we say again that we are online, at most: whoever
// says otherwise all the time is no late will.
const correctEvery = time.Second

// A lateWill is one that the broker sends when it notices that an earlier
// connection is dead, which may be after we are back: we say again that we are
// online. The first time is at the start of the session.
type lateWill struct {
	*session
	at        time.Time // when it is said; zero: it is not
	said      bool
	echoed    bool      // we heard that we are online
	corrected time.Time // when we last said so again
}

// heard takes what the broker says of us.
func (l *lateWill) heard(word string) {
	switch {
	case word == "online":
		l.echoed = true
	case l.echoed && l.leaving == nil:
		l.echoed = false
		l.at = l.corrected.Add(correctEvery)
	}
}

func (l *lateWill) due() time.Time { return l.at }

func (l *lateWill) take() notice {
	if l.said && l.corrected.IsZero() {
		l.log.Info("a late will is corrected")
	}
	if l.said {
		l.corrected = time.Now()
	}
	l.at, l.said = time.Time{}, true
	return notice{Message: l.status("online")}
}
