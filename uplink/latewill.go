package uplink

import "time"

// correctEvery is the least time between two corrections. It limits the traffic if another
// client publishes "offline" all the time.
const correctEvery = time.Second

// A lateWill is the source of "online" on agent/status. It publishes it at the start of a
// session, and again after a late will: the broker may notice only then that our previous
// connection is dead, and publish "offline". Only the goroutine of the session uses it.
type lateWill struct {
	once
	link      *Link
	online    bool      // "online" was published in this session
	echoed    bool      // the last "online" has come back
	corrected time.Time // when "online" was last published again; zero: never
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
