package uplink

import (
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// suspectWait is how long after the start of a session a suspected notice waits for the
// backlog. After that the backlog waits until nothing is in flight and the suspect was sent.
const suspectWait = 30 * time.Second

// notices sends the notices of one session, in the order of two lists. A notice that was in
// flight when a session ended is a suspect: see noticeRecords. Only the goroutine of the
// session uses it.
type notices struct {
	link      *Link
	out       *outgoing
	canary    *canary
	announcer *announcer
	health    *heartbeat

	readStatus, readInfo, readHome once // subscriptions
	readOrders                     []once

	urgent []source // are sent before routine readings; they are small and may use the room for alarms
	others []source
	proof  []source // the canary and its subscription, which are also in urgent
	all    []source // urgent and others

	unconfirmed []sentMessage // the last of each notice sent at QoS 0 after which nothing was acknowledged yet
}

// noticeMemory is the state of notices that lives longer than a session. Only the goroutine
// of the session uses it.
type noticeMemory struct {
	records      noticeRecords
	acked        map[noticeID]bool // notices that were acknowledged at least once
	clears       noticeList        // clear what an earlier start has retained on the broker
	suspectFirst bool              // send a suspect before alarms until the broker answers anything
}

func newNoticeMemory() noticeMemory {
	return noticeMemory{records: noticeRecords{}, acked: map[noticeID]bool{},
		clears: noticeList{group: noticeID{form: formClears}}}
}

// subscription returns the source of a subscription. live is as in notice.
func (m *noticeMemory) subscription(topic string, live bool) once {
	n := notice{Message: mqtt.Message{Topic: topic}, kind: kindSubscription, live: live}
	return newOnce(m.records, noticeForm{noticeID{topic, formSubscription}, func() notice { return n }})
}

// fullOrShort returns the source of a notice that has a full and a short form.
func (m *noticeMemory) fullOrShort(topic string, make func(short bool) notice) once {
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

// subscribe makes the subscriptions due: to orders, the canary, our own status and birth
// (to notice other clients that publish there), and the status of Home Assistant.
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

// due returns when the next notice becomes due, or when a suspect may be sent: see isolating
// and sendSuspect.
func (n *notices) due(now time.Time) (next time.Time) {
	for _, src := range n.all {
		next = earliest(next, ifAfter(src.due(), now))
	}
	if len(n.link.notices.records) > 0 {
		next = earliest(next, ifAfter(n.out.began.Add(suspectWait), now), ifAfter(n.out.quietUntil(), now))
	}
	return next
}

// sent records that a message at QoS 0 was written. The next acknowledgement confirms it.
func (n *notices) sent(f *sentMessage) {
	n.out.window.gone(f.slot)
	n.unconfirmed = append(slices.DeleteFunc(n.unconfirmed, f.sameNotice), *f)
}

// sendNotice sends the first due notice of these sources that is no suspect, and reports
// whether there was one.
func (n *notices) sendNotice(list []source) bool {
	src := n.pick(list, false)
	if src == nil {
		return false
	}
	n.out.sendNotice(src.take(), false)
	return true
}

// pick returns the first source whose notice is due and is no suspect or, with suspect, the
// one among the due suspects with the fewest ended sessions; nil if there is none.
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

// pickSuspect returns the source of a due suspect, nil if there is none. urgent means that
// routine readings wait for it: once the broker has answered anything, the suspects among
// the proof come first.
func (n *notices) pickSuspect() (src source, urgent bool) {
	if n.out.answered && !n.canary.acksProven() {
		if src := n.pick(n.proof, true); src != nil {
			return src, true
		}
	}
	return n.pick(n.all, true), !n.out.answered && !n.canary.acksProven()
}

// asksForAnswer reports whether a reading should be sent first because a suspect is due and
// the broker has not answered anything yet. Without an answer, a later end of the session
// says nothing about the suspect.
func (n *notices) asksForAnswer() bool {
	return len(n.link.notices.records) > 0 && !n.out.answered && !n.link.notices.suspectFirst &&
		n.out.inflight.len() == 0 && n.pick(n.all, true) != nil
}

// beginsWithSuspect reports whether a suspect should be sent before alarms, because the last
// session that began with alarms ended before the broker answered anything.
func (n *notices) beginsWithSuspect() bool {
	return len(n.link.notices.records) > 0 && !n.out.answered && n.link.notices.suspectFirst &&
		n.pick(n.all, true) != nil
}

// isolating reports whether only alarms may be sent now, because a suspect is in flight or
// will be sent as soon as nothing is.
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

// isolated returns the suspect in flight; nil if there is none.
func (n *notices) isolated() *sentMessage {
	if len(n.link.notices.records) == 0 {
		return nil
	}
	return n.out.isolated()
}

// sendSuspect sends a suspect if nothing is in flight, so that an end of the session shows
// that it is the reason. After suspectWait it sends it although alarms are in flight,
// because there may always be some.
func (n *notices) sendSuspect() bool {
	if len(n.link.notices.records) == 0 {
		return false
	}
	if !n.out.answered && n.canary.acksProven() && !n.link.notices.suspectFirst &&
		time.Since(n.out.began) < suspectWait {
		return false // wait for a reading and the answer to it
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
	if msg.kind == kindOnce { // at QoS 0 there would be no acknowledgement
		msg.kind, msg.AtMostOnce = kindOther, false
	}
	n.out.sendNotice(msg, true)
	return true
}
