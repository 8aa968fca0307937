package uplink

import (
	"slices"
	"time"
)

// suspectWait is how long after the start of a session a notice that sessions
// ended with waits for the backlog, at most. Then what is in flight is awaited
// for its sake.
const suspectWait = 30 * time.Second

// The sources are what an agent says of itself in a session, and what it
// listens to.
type sources struct {
	readCanary, readStatus, readInfo, readHome once // subscriptions

	online     lateWill
	sendCanary once
	birth      once
	discovery  once
	entities   noticeList // what is left of an announcement entity by entity
	restate    once       // after discovery, where the broker retains nothing
	health     once

	urgent, others []source // in the order in which they go
	proof, all     []source
}

// newSources makes the sources; none is due. The urgent ones are what routine
// readings wait for: they need little room, and take that of an alarm.
func (s *session) newSources() {
	l, q := s.Link, &s.sources
	one := func(what noticeID, make func() notice) once {
		return newOnce(l.records, noticeForm{what, make})
	}
	either := func(what noticeID, make func(short bool) notice) once {
		return newOnce(l.records, noticeForm{what, func() notice { return make(false) }},
			noticeForm{noticeID{what.topic, formShort}, func() notice { return make(true) }})
	}
	subscription := func(topic string) once {
		n := notice{Message: Message{Topic: topic}, kind: kindSubscription}
		return one(noticeID{topic, formSubscription}, func() notice { return n })
	}
	agent := func(what string) noticeID { return noticeID{topic: l.topics.agent(what)} }

	q.readCanary = subscription(l.topics.agent("canary"))
	q.readStatus = subscription(l.topics.agent("status"))
	q.readInfo = subscription(l.topics.agent("info"))
	q.readHome = subscription(l.opt.homeStatusTopic())
	q.online = lateWill{once: one(agent("status"), s.onlineNotice)}
	q.sendCanary = one(agent("canary"), s.canaryNotice)
	q.sendCanary.after = &q.readCanary
	l.clears.wait = func() bool { return !s.acksProven() }
	q.birth = either(agent("info"), s.birthNotice)
	q.restate = one(agent("status"), s.restateNotice)
	announcement := noticeID{topic: discoveryTopic(l.opt.HomeAssistant.Prefix, l.opt.ClientID)}
	q.discovery = either(announcement, func(short bool) notice {
		if short {
			return s.singleNotice()
		}
		return s.discoveryNotice()
	})
	q.entities.group = noticeID{announcement.topic, formShort}
	q.health = either(agent("health"), s.heartbeatNotice)

	q.urgent = []source{&q.readCanary, &q.readStatus, &q.readInfo, &q.online, &q.sendCanary}
	q.others = []source{&q.readHome, &l.clears, &q.birth, &q.discovery, &q.entities, &q.restate, &q.health}
	q.proof, q.all = []source{&q.readCanary, &q.sendCanary}, slices.Concat(q.urgent, q.others)
}

// next is when the next notice is due that is not due yet.
func (q *sources) next(now time.Time) (next time.Time) {
	for _, src := range q.all {
		if at := src.due(); at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// sendNotice sends a notice of these sources, if one is due that nothing speaks
// against.
func (s *session) sendNotice(list []source) bool {
	src := s.pick(list, false)
	if src == nil {
		return false
	}
	s.sendOwn(src.take(), false)
	return true
}

// pick returns the first source whose notice is due and is a suspect, or is
// none; of suspects, the one that the fewest sessions ended with.
func (s *session) pick(list []source, suspect bool) (best source) {
	now := time.Now()
	for _, src := range list {
		at := src.due()
		if at.IsZero() || now.Before(at) || s.suspect(src.id()) != suspect {
			continue
		}
		if !suspect {
			return src
		}
		if best == nil || s.records.ends(src.id()) < s.records.ends(best.id()) {
			best = src
		}
	}
	return best
}

// pickSuspect returns the source of a suspect that is due, and whether routine
// readings wait for it: what belongs to the proof goes first, once the broker
// has answered anything.
func (s *session) pickSuspect() (src source, urgent bool) {
	if s.out.answered && !s.acksProven() {
		if src := s.pick(s.proof, true); src != nil {
			return src, true
		}
	}
	return s.pick(s.all, true), !s.out.answered && !s.acksProven()
}

// asksForAnswer says that something that is no notice is to go first: a suspect
// is not blamed where nothing is ever answered.
func (s *session) asksForAnswer() bool {
	return len(s.records) > 0 && !s.out.answered && !s.suspectFirst && s.out.inflight.len() == 0 && s.pick(s.all, true) != nil
}

// beginsWithSuspect says that a suspect is to go before alarms, since the last
// session that began with these was ended before anything was answered.
func (s *session) beginsWithSuspect() bool {
	return len(s.records) > 0 && !s.out.answered && s.suspectFirst && s.pick(s.all, true) != nil
}

// isolating says that nothing but alarms may go beside what is in flight: a
// suspect is in flight, or its turn has come.
func (s *session) isolating() bool {
	if len(s.records) == 0 {
		return false
	}
	if f := s.isolatedOne(); f != nil {
		return time.Since(f.sent) < closedAfter
	}
	src, urgent := s.pickSuspect()
	return src != nil && (urgent || time.Since(s.out.began) >= suspectWait)
}

// isolatedOne is the suspect in flight; nil if there is none.
func (s *session) isolatedOne() *sentMessage {
	if len(s.records) == 0 {
		return nil
	}
	return s.out.isolated()
}

// sendSuspect sends a suspect, if nothing is in flight: if the session ends then,
// it is to blame. Where there are always alarms in flight it does not wait for
// them for ever.
func (s *session) sendSuspect() bool {
	if len(s.records) == 0 {
		return false
	}
	if !s.out.answered && s.acksProven() && !s.suspectFirst && time.Since(s.out.began) < suspectWait {
		return false // a reading may come, and the answer to it
	}
	for i := range s.out.inflight.len() {
		if !s.out.inflight.at(i).alarm() || time.Since(s.out.began) < suspectWait {
			return false
		}
	}
	src, _ := s.pickSuspect()
	if src == nil {
		return false
	}
	n := src.take()
	if n.kind == kindOnce { // it is to be acknowledged
		n.kind, n.Once = kindOther, false
	}
	s.sendOwn(n, true)
	return true
}

func (s *session) sendOwn(n notice, isolated bool) {
	f := sentMessage{kind: n.kind, notice: n, isolated: isolated}
	if n.kind != kindSubscription {
		s.out.publish(n.Message, f)
		return
	}
	s.out.subscribe(n.Topic, f)
}
