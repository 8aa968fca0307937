package uplink

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// An announcer publishes the birth and tells Home Assistant of our entities. It
// hears births of others on our topic, and clears what an earlier start left with
// the broker. All fields belong to the goroutine of the session.
type announcer struct {
	link *Link
	out  *outgoing

	birth     once
	discovery once
	entities  noticeList // what is left of an announcement entity by entity
	restate   once       // states again, after discovery and now and then, where the broker retains nothing

	announced       bool      // the birth is due, or was
	birthAcked      bool      // the broker has acknowledged our birth
	birthSeenBefore bool      // the broker had our birth before this session
	rivalSeen       string    // the boot of another's birth
	reassertAt      time.Time // when all states are published again, before they expire; zero: never
	rebornAt        time.Time // when we last published our birth over another's
}

// announceMemory is what outlives a session. It belongs to the goroutine of the
// session.
type announceMemory struct {
	rival   rival
	cleared bool // what an earlier start left was looked for
	split   bool // Home Assistant is told entity by entity
}

func newAnnouncer(l *Link, out *outgoing) *announcer {
	a := &announcer{link: l, out: out, birthSeenBefore: l.announced.rival.born}
	a.birth = l.notices.either(l.topics.Agent("info"), a.birthNotice)
	a.restate = newOnce(l.notices.records, noticeForm{noticeID{topic: l.topics.Agent("status")}, a.restateNotice})
	topic := homeassistant.DiscoveryTopic(l.opt.HomeAssistant.Prefix, l.opt.ClientID)
	a.discovery = l.notices.either(topic, func(short bool) notice {
		if short {
			return a.singleNotice()
		}
		return a.discoveryNotice()
	})
	a.entities.group = noticeID{topic, formShort}
	return a
}

// announce makes the birth and the announcement to Home Assistant due. In the first
// session it is called when the canary has come back: by then the broker has sent
// what an earlier start has retained. That is cleared first, as nothing would clear
// it after a power cut in between.
func (a *announcer) announce() {
	if a.announced {
		return
	}
	a.announced = true
	a.birth.now()
	a.restateIn(restateEvery)
	if a.link.opt.HomeAssistant.Discovery {
		a.discovery.now()
	}
}

// bootForm is that of queue.Queue.Boot.
var bootForm = regexp.MustCompile(`^[0-9]{1,20}-[0-9a-f]{8}$`)

// rebirthEvery is how often our birth is published over another's, at most.
const rebirthEvery = time.Minute

// birthNotice makes the birth. Before a large one it unsubscribes from the topic:
// the broker would send all of it back.
func (a *announcer) birthNotice(short bool) notice {
	m := a.link.opt.birthMessage(short, a.link.announced.split)
	if len(m.Payload) > maxEcho && !a.link.opt.NoProof {
		a.out.unsubscribe(a.link.topics.Agent("info"))
	}
	return notice{Message: m, kind: kindBirth}
}

// onBirth takes a message on our own agent/info. Other clients may be allowed to
// publish there: a message that does not have our form counts as no birth.
func (a *announcer) onBirth(m mqtt.Message) {
	var b struct{ Boot string }
	if json.Unmarshal(m.Payload, &b) != nil || !bootForm.MatchString(b.Boot) {
		b.Boot = ""
	}
	switch {
	case b.Boot == a.link.opt.Boot && !m.Retain:
	case !m.Retain:
		a.replaceBirth()
	case b.Boot == "":
	case !a.birthSeenBefore && b.Boot != a.link.opt.Boot: // of our own earlier start, perhaps
		if !a.link.announced.cleared {
			a.link.announced.cleared = true
			a.clear(m.Payload)
		}
	default:
		a.foundRival(b.Boot)
	}
}

// replaceBirth publishes our birth again: another stands in its place.
func (a *announcer) replaceBirth() {
	if now := time.Now(); a.announced && a.birth.at.IsZero() && now.Sub(a.rebornAt) >= rebirthEvery {
		a.rebornAt = now
		a.birth.now()
	}
}

// beginShort begins with the forms that the previous start found to get through:
// the whole ones are tried later.
func (a *announcer) beginShort(previous []byte) {
	var was birth
	if json.Unmarshal(previous, &was) != nil {
		return
	}
	later := func(full noticeID, m mqtt.Message) {
		if !a.link.notices.records.known(full) {
			a.link.notices.records.suspectOne(full, len(m.Topic)+len(m.Payload))
			a.link.notices.records.postpone(full, time.Now())
		}
	}
	if was.Split && a.link.opt.HomeAssistant.Discovery {
		a.link.announced.split = true
		later(noticeID{topic: a.entities.group.topic}, a.link.opt.Discovery())
	}
	if was.Truncated {
		later(noticeID{topic: a.link.topics.Agent("info")}, a.link.opt.birthMessage(false, a.link.announced.split))
	}
}

// clear takes away what the previous birth lists and this start does not feed.
func (a *announcer) clear(previous []byte) {
	a.beginShort(previous)
	if a.link.opt.NoRetain { // an empty message would clear nothing, and be taken for a state
		return
	}
	for _, m := range cleanup(previous, a.link.opt) {
		a.link.notices.clears.all = append(a.link.notices.clears.all, notice{Message: m})
	}
	if a.announced { // it came late: the birth stands on top again
		a.announced = false
		a.announce()
	}
}

// onHomeAssistantStatus takes what Home Assistant says of itself. What is retained is from
// before this session, in which it was told already.
func (a *announcer) onHomeAssistantStatus(m mqtt.Message) {
	old := m.Retain && !a.out.hasReasonCodes // MQTT 5 sends nothing old, and marks what the broker shall keep
	if a.link.opt.homeStarted(m) && !old && a.discovery.at.IsZero() {
		a.discovery.at = time.Now().Add(rediscoverAfter())
	}
}

// restateAfter is how long Home Assistant has to subscribe to the topics that were
// announced.
const restateAfter = 5 * time.Second

// restateEvery bounds how long who subscribes waits for what is true now where the
// broker retains nothing: a door may not move for a year.
const restateEvery = 10 * time.Minute

// restateIn makes the states due again, if the broker retains nothing.
func (a *announcer) restateIn(d time.Duration) {
	if a.link.opt.NoRetain {
		a.restate.at = time.Now().Add(d)
	}
}

// reassert makes all states due when their time has come.
func (a *announcer) reassert(now time.Time) {
	if !a.reassertAt.IsZero() && !now.Before(a.reassertAt) {
		a.link.states.refresh()
		a.reassertAt = now.Add(reassertEvery)
	}
}

// discoveryNotice makes the announcement of the whole device. If the broker retains
// nothing, the entities have neither an availability nor a state until both are
// published again: see restateNotice.
func (a *announcer) discoveryNotice() notice {
	a.restateIn(restateAfter)
	return notice{Message: a.link.opt.Discovery()}
}

// restateNotice publishes "online" once more, and makes all states due.
func (a *announcer) restateNotice() notice {
	a.link.states.refresh()
	a.restateIn(restateEvery)
	return notice{Message: a.link.status("online")}
}

// rediscoverWithin bounds rediscoverAfter.
const rediscoverWithin = 10 * time.Second

// rediscoverAfter is a random time to wait before announcing again after a start of
// Home Assistant: it is busy then, and all its devices receive its birth message at
// the same moment.
func rediscoverAfter() time.Duration { return rand.N(rediscoverWithin) }

// singleNotice makes the first of them; the others follow.
func (a *announcer) singleNotice() notice {
	msgs := a.link.opt.entities()
	a.entities.all = nil
	for _, m := range msgs[1:] {
		a.entities.all = append(a.entities.all, notice{Message: m})
	}
	return notice{Message: msgs[0]}
}

// announcedSingly takes note that all singles got through: the next start has to
// know of them.
func (a *announcer) announcedSingly() {
	if !a.link.announced.split {
		a.link.announced.split = true
		a.birth.now()
	}
}

// announcedWhole takes note that the announcement of all got through. While
// singles stand beside it, Home Assistant refuses its entities.
func (a *announcer) announcedWhole() {
	if !a.link.announced.split {
		return
	}
	a.link.announced.split = false
	for _, m := range a.link.opt.entities() {
		a.link.notices.clears.all = append(a.link.notices.clears.all,
			notice{Message: mqtt.Message{Topic: m.Topic, Retain: true}})
	}
	a.discovery.now()
	a.birth.now()
}

// confirmed takes note that a notice got through.
func (a *announcer) confirmed(id noticeID) {
	switch id {
	case a.entities.group:
		a.announcedSingly()
	case noticeID{topic: a.entities.group.topic}:
		a.announcedWhole()
	}
}

// proven takes note that acknowledgements are proven: the broker has our birth.
func (a *announcer) proven() {
	r := &a.link.announced.rival
	r.born = r.born || a.birthAcked
}
