package uplink

import "time"

// correctEvery is the shortest time between two corrections: another client that
// publishes "offline" all the time is not a late will, and must not cost more.
const correctEvery = time.Second

// A lateWill is one that the broker publishes when it notices that an earlier
// connection is dead, which may be after we are back. Then "online" is published
// again. The first "online" is that at the start of the session. All fields
// belong to the goroutine of the session.
type lateWill struct {
	once
	link      *Link
	online    bool      // "online" was published in this session
	echoed    bool      // it was heard since it was published last
	corrected time.Time // when it was last published again; zero: never
}

func newLateWill(l *Link) *lateWill {
	w := &lateWill{link: l}
	w.once = newOnce(l.notices.records, noticeForm{noticeID{topic: l.topics.Agent("status")}, w.notice})
	return w
}

// onStatus handles a message on our own topic agent/status.
func (w *lateWill) onStatus(word string) {
	switch {
	case word == "online":
		w.echoed = true
	case w.echoed:
		w.echoed = false
		w.at = w.corrected.Add(correctEvery)
	}
}

func (w *lateWill) notice() notice {
	if w.online && w.corrected.IsZero() && w.link.journal.once("late will") {
		w.link.log.Info("a late will is corrected")
	}
	if w.online {
		w.corrected = time.Now()
	}
	n := notice{Message: w.link.status("online"), taken: w.online} // a correction follows an echo
	w.online = true
	return n
}
