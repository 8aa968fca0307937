package uplink

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// An announcer publishes the birth and the announcement to Home Assistant. It receives
// births that other clients publish on our topic, and clears what an earlier start has
// retained on the broker. Only the goroutine of the session uses it.
type announcer struct {
	link *Link
	out  *outgoing

	birth     once
	discovery once
	entities  noticeList // the rest of an announcement that is sent entity by entity
	restate   once       // without retained messages: publishes all states again, after discovery and periodically

	announced       bool      // the birth is due or was sent
	birthAcked      bool      // the broker has acknowledged our birth
	birthSeenBefore bool      // the broker had our birth before this session
	rivalSeen       string    // the boot in the birth of another client
	reassertAt      time.Time // when all states are published again, before they expire; zero: never
	rebornAt        time.Time // when we last replaced the birth of another client by ours
}

// announceMemory is the state of the announcer that lives longer than a session. Only the
// goroutine of the session uses it.
type announceMemory struct {
	rival   rival
	cleared bool // what an earlier start has retained was searched for
	split   bool // Home Assistant has the announcement entity by entity
}

func newAnnouncer(l *Link, out *outgoing) *announcer {
	a := &announcer{link: l, out: out, birthSeenBefore: l.announced.rival.born}
	a.birth = l.notices.fullOrShort(l.topics.Agent("info"), a.birthNotice)
	a.restate = newOnce(l.notices.records, noticeForm{noticeID{topic: l.topics.Agent("status")}, a.restateNotice})
	topic := homeassistant.DiscoveryTopic(l.opt.HomeAssistant.Prefix, l.opt.ClientID)
	a.discovery = l.notices.fullOrShort(topic, func(short bool) notice {
		if short {
			return a.singleNotice()
		}
		return a.discoveryNotice()
	})
	a.entities.group = noticeID{topic, formShort}
	return a
}

// announce makes the birth and the announcement to Home Assistant due. In the first session
// it is called when the canary has come back: by then the broker has sent the retained birth
// of an earlier start. What that lists is cleared first, because after a power cut in
// between nothing would clear it.
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

// bootForm matches the result of queue.Queue.Boot.
var bootForm = regexp.MustCompile(`^[0-9]{1,20}-[0-9a-f]{8}$`)

// rebirthEvery is the least time between two replacements of another client's birth.
const rebirthEvery = time.Minute

// birthNotice makes the birth. Before a large one it unsubscribes from the topic, so that
// the broker does not send it back.
func (a *announcer) birthNotice(short bool) notice {
	m := a.link.opt.birthMessage(short, a.link.announced.split)
	if len(m.Payload) > maxEcho && !a.link.opt.NoProof {
		a.out.unsubscribe(a.link.topics.Agent("info"))
	}
	return notice{Message: m, kind: kindBirth}
}

// onBirth handles a message on our own topic agent/info. Other clients may be allowed to
// publish there, so a boot that does not have our form is ignored.
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
	case !a.birthSeenBefore && b.Boot != a.link.opt.Boot: // probably of our own earlier start
		if !a.link.announced.cleared {
			a.link.announced.cleared = true
			a.clear(m.Payload)
		}
	default:
		a.foundRival(b.Boot)
	}
}

// replaceBirth publishes our birth again, because another message has replaced it.
func (a *announcer) replaceBirth() {
	if now := time.Now(); a.announced && a.birth.at.IsZero() && now.Sub(a.rebornAt) >= rebirthEvery {
		a.rebornAt = now
		a.birth.now()
	}
}

// beginShort makes this start begin with the short forms if the previous start had to use
// them. The full forms are deferred.
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

// clear clears what the previous birth lists and this start does not publish.
func (a *announcer) clear(previous []byte) {
	a.beginShort(previous)
	if a.link.opt.NoRetain { // an empty message would clear nothing and look like a state
		return
	}
	for _, m := range cleanup(previous, a.link.opt) {
		a.link.notices.clears.all = append(a.link.notices.clears.all, notice{Message: m})
	}
	if a.announced { // the previous birth came late: publish ours again after the clears
		a.announced = false
		a.announce()
	}
}

// onHomeAssistantStatus handles the status of Home Assistant: after its start, the
// announcement becomes due again. A retained status is from before this session, which has
// announced anyway.
func (a *announcer) onHomeAssistantStatus(m mqtt.Message) {
	old := m.Retain && !a.out.hasReasonCodes // with MQTT 5 old messages are not sent, and Retain is as published
	if a.link.opt.homeStarted(m) && !old && a.discovery.at.IsZero() {
		a.discovery.at = time.Now().Add(rediscoverAfter())
	}
}

// restateAfter is the time for Home Assistant to subscribe to the announced topics.
const restateAfter = 5 * time.Second

// restateEvery limits how long a new subscriber waits for current states without retained
// messages: a door may not move for a year.
const restateEvery = 10 * time.Minute

// restateIn makes the states due again after a time, if the broker retains nothing.
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

// discoveryNotice makes the announcement of the whole device. If the broker retains nothing,
// restateNotice follows: without it the entities would have no availability and no state.
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

// rediscoverAfter returns a random time to wait before announcing again after a start of
// Home Assistant, which is busy then. All devices get its birth at the same moment.
func rediscoverAfter() time.Duration { return rand.N(rediscoverWithin) }

// singleNotice makes the announcement of the first entity, and puts those of the others into
// a.entities.
func (a *announcer) singleNotice() notice {
	msgs := a.link.opt.entities()
	a.entities.all = nil
	for _, m := range msgs[1:] {
		a.entities.all = append(a.entities.all, notice{Message: m})
	}
	return notice{Message: msgs[0]}
}

// announcedSingly records that all entities were announced one by one. The birth says so,
// for the next start.
func (a *announcer) announcedSingly() {
	if !a.link.announced.split {
		a.link.announced.split = true
		a.birth.now()
	}
}

// announcedWhole records that the announcement of the whole device was acknowledged. If
// entities were announced one by one before, these announcements are cleared: as long as
// they exist, Home Assistant rejects the same entities of the device.
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

// confirmed handles the confirmation of a notice.
func (a *announcer) confirmed(id noticeID) {
	switch id {
	case a.entities.group:
		a.announcedSingly()
	case noticeID{topic: a.entities.group.topic}:
		a.announcedWhole()
	}
}

// proven is called when the canary has proven the acknowledgements of this session: if our
// birth was acknowledged, the broker has it.
func (a *announcer) proven() {
	r := &a.link.announced.rival
	r.born = r.born || a.birthAcked
}
