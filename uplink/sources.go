package uplink

import (
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// suspectWait is how long after the start of a session a notice that sessions
// ended with waits for the backlog, at most. Then what is in flight is awaited
// for its sake.
const suspectWait = 30 * time.Second

// notices send what the agent says of itself in a session, and its
// subscriptions, in the order of two lists. A notice that sessions ended with is a
// suspect: see noticeRecords. All fields belong to the goroutine of the session.
type notices struct {
	link      *Link
	out       *outgoing
	canary    *canary
	announcer *announcer
	health    *heartbeat

	readStatus, readInfo, readHome once // subscriptions
	readOrders                     []once

	urgent []source // routine readings wait for them: they need little room, and may take that of an alarm
	others []source
	proof  []source // of the urgent ones: the canary and its subscription
	all    []source

	unconfirmed []sentMessage // at QoS 0, and nothing was acknowledged behind them; the latest of each
}

// noticeMemory is what outlives a session. It belongs to the goroutine of the
// session.
type noticeMemory struct {
	records      noticeRecords
	acked        map[noticeID]bool // were acknowledged once
	clears       noticeList        // take away what an earlier start left with the broker
	suspectFirst bool              // a session begins with a suspect, not with the history, until anything is answered
}

func newNoticeMemory() noticeMemory {
	return noticeMemory{records: noticeRecords{}, acked: map[noticeID]bool{},
		clears: noticeList{group: noticeID{form: formClears}}}
}

// subscription is the source of a subscription. live is as in notice.
func (m *noticeMemory) subscription(topic string, live bool) once {
	n := notice{Message: mqtt.Message{Topic: topic}, kind: kindSubscription, live: live}
	return newOnce(m.records, noticeForm{noticeID{topic, formSubscription}, func() notice { return n }})
}

// either is the source of a notice that has a full and a short form.
func (m *noticeMemory) either(topic string, make func(short bool) notice) once {
	return newOnce(m.records, noticeForm{noticeID{topic: topic}, func() notice { return make(false) }},
		noticeForm{noticeID{topic, formShort}, func() notice { return make(true) }})
}

// newNotices makes the lists of sources; none of them is due.
func newNotices(l *Link, out *outgoing, c *canary, w *lateWill, a *announcer, h *heartbeat) *notices {
	n := &notices{link: l, out: out, canary: c, announcer: a, health: h}
	n.readStatus = l.notices.subscription(l.topics.Agent("status"), false) // our own will, too
	n.readInfo = l.notices.subscription(l.topics.Agent("info"), false)
	n.readHome = l.notices.subscription(l.opt.homeStatusTopic(), true)
	l.notices.clears.wait = func() bool { return !c.acksProven() }
	for _, topic := range l.orders.topics() {
		n.readOrders = append(n.readOrders, l.notices.subscription(topic, true))
	}
	n.urgent = []source{&c.read, &n.readStatus, &n.readInfo, w, &c.send}
	for i := range n.readOrders {
		n.urgent = append(n.urgent, &n.readOrders[i])
	}
	n.others = []source{&n.readHome, &l.notices.clears, &a.birth, &a.discovery, &a.entities, &a.restate, h}
	n.proof, n.all = []source{&c.read, &c.send}, slices.Concat(n.urgent, n.others)
	return n
}

// subscribe makes the subscriptions due: to orders, to what others may say in our name,
// to the canary, and to what Home Assistant says of itself.
func (n *notices) subscribe() {
	for i := range n.readOrders {
		n.readOrders[i].now()
	}
	if n.link.opt.NoProof {
		return
	}
	if !n.out.hasReasonCodes {
		n.canary.read.now()
	}
	n.readStatus.now()
	n.readInfo.now()
	if n.link.opt.HomeAssistant.Discovery {
		n.readHome.now()
	}
}

// due is when the next notice is due that is not due yet, or when one that goes
// alone may go: see isolating and sendSuspect.
func (n *notices) due(now time.Time) (next time.Time) {
	for _, src := range n.all {
		next = earliest(next, ifAfter(src.due(), now))
	}
	if len(n.link.notices.records) > 0 {
		next = earliest(next, ifAfter(n.out.began.Add(suspectWait), now), ifAfter(n.out.quietUntil(), now))
	}
	return next
}

// sent takes note that a message at QoS 0 was written: it is confirmed by the
// next acknowledgement.
func (n *notices) sent(f *sentMessage) {
	n.out.window.gone(f.slot)
	n.unconfirmed = append(slices.DeleteFunc(n.unconfirmed, f.sameNotice), *f)
}

// sendNotice sends a notice of these sources, if one is due that nothing speaks
// against.
func (n *notices) sendNotice(list []source) bool {
	src := n.pick(list, false)
	if src == nil {
		return false
	}
	n.out.sendNotice(src.take(), false)
	return true
}

// pick returns the first source whose notice is due and is a suspect, or is
// none; of suspects, the one that the fewest sessions ended with.
func (n *notices) pick(list []source, suspect bool) (best source) {
	now := time.Now()
	for _, src := range list {
		at := src.due()
		if at.IsZero() || now.Before(at) || n.suspect(src.id()) != suspect {
			continue
		}
		if !suspect {
			return src
		}
		if best == nil || n.link.notices.records.ends(src.id()) < n.link.notices.records.ends(best.id()) {
			best = src
		}
	}
	return best
}

// pickSuspect returns the source of a suspect that is due, and whether routine
// readings wait for it: what belongs to the proof goes first, once the broker
// has answered anything.
func (n *notices) pickSuspect() (src source, urgent bool) {
	if n.out.answered && !n.canary.acksProven() {
		if src := n.pick(n.proof, true); src != nil {
			return src, true
		}
	}
	return n.pick(n.all, true), !n.out.answered && !n.canary.acksProven()
}

// asksForAnswer says that something that is no notice is to go first: a suspect
// is not blamed where nothing is ever answered.
func (n *notices) asksForAnswer() bool {
	return len(n.link.notices.records) > 0 && !n.out.answered && !n.link.notices.suspectFirst &&
		n.out.inflight.len() == 0 && n.pick(n.all, true) != nil
}

// beginsWithSuspect says that a suspect is to go before alarms, since the last
// session that began with these was ended before anything was answered.
func (n *notices) beginsWithSuspect() bool {
	return len(n.link.notices.records) > 0 && !n.out.answered && n.link.notices.suspectFirst &&
		n.pick(n.all, true) != nil
}

// isolating says that nothing but alarms may go beside what is in flight: a
// suspect is in flight, or its turn has come.
func (n *notices) isolating() bool {
	if len(n.link.notices.records) == 0 {
		return false
	}
	if f := n.isolated(); f != nil {
		return time.Since(f.sent) < closedAfter
	}
	src, urgent := n.pickSuspect()
	return src != nil && (urgent || time.Since(n.out.began) >= suspectWait)
}

// isolated is the suspect in flight; nil if there is none.
func (n *notices) isolated() *sentMessage {
	if len(n.link.notices.records) == 0 {
		return nil
	}
	return n.out.isolated()
}

// sendSuspect sends a suspect, if nothing is in flight: if the session ends then,
// it is to blame. Where there are always alarms in flight it does not wait for
// them for ever.
func (n *notices) sendSuspect() bool {
	if len(n.link.notices.records) == 0 {
		return false
	}
	if !n.out.answered && n.canary.acksProven() && !n.link.notices.suspectFirst &&
		time.Since(n.out.began) < suspectWait {
		return false // a reading may come, and the answer to it
	}
	for i := range n.out.inflight.len() {
		if !n.out.inflight.at(i).alarm() || time.Since(n.out.began) < suspectWait {
			return false
		}
	}
	src, _ := n.pickSuspect()
	if src == nil {
		return false
	}
	msg := src.take()
	if msg.kind == kindOnce { // it is to be acknowledged
		msg.kind, msg.AtMostOnce = kindOther, false
	}
	n.out.sendNotice(msg, true)
	return true
}
