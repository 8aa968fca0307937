package uplink

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// canaryRetry is how long a session whose backlog is held waits before it sends
// the next canary.
const canaryRetry = time.Minute

// A canary proves that we may publish, with MQTT 3.1.1: see refusals for 5, where none
// is sent. MQTT 3.1.1 has no answer for "you may not
// publish this": a broker acknowledges what its access list denies, and drops it.
// So a session publishes a token on a topic that it has subscribed to, and counts
// no acknowledgement before the token came back.
//
// If the token does not come back, the backlog is held: alarms are sent all the
// same, and everything stays in the queue. All fields belong to the goroutine of
// the session.
type canary struct {
	link       *Link
	out        *outgoing
	read, send once // the subscription to the topic; the token

	token string
	heard bool      // the token came back
	held  string    // why the backlog is held; empty: it is not
	next  time.Time // when silence is judged, or the canary is repeated; zero: neither
}

// canaryMemory is what outlives a session. It belongs to the goroutine of the
// session.
type canaryMemory struct {
	sent         int             // numbers the tokens
	provenBefore bool            // a session proved that we may publish, and none since failed to
	heldLogged   string          // the latest reason for a hold that is in the log
	unreadable   map[string]bool // topics whose subscription was denied, as the log says
}

func newCanary(l *Link, out *outgoing) *canary {
	c := &canary{link: l, out: out}
	topic := l.topics.Agent("canary")
	c.read = l.notices.subscription(topic, false)
	c.send = newOnce(l.notices.records, noticeForm{noticeID{topic: topic}, c.notice})
	c.send.after = &c.read
	return c
}

// prove makes a canary with a new token due.
func (c *canary) prove() {
	if c.link.opt.NoProof || c.out.hasReasonCodes {
		return
	}
	memory := &c.link.canary
	memory.sent++
	c.token = fmt.Sprintf(`{"boot":%q,"n":%d}`, c.link.opt.Boot, memory.sent)
	c.send.now()
	c.next = time.Time{}
}

// notice makes the message. The time in which it has to come back begins now.
func (c *canary) notice() notice {
	c.next = time.Now().Add(c.link.opt.ackBounds().proof)
	return notice{Message: mqtt.Message{Topic: c.link.topics.Agent("canary"), Payload: []byte(c.token)}}
}

// acksProven says that an acknowledgement of the broker's means that it has the
// message: the token came back, or cannot be expected to.
func (c *canary) acksProven() bool {
	if c.out.hasReasonCodes {
		return c.held == ""
	}
	return c.heard || c.link.opt.NoProof || c.unprovable()
}

// routineAllowed says that routine readings may be sent. If the session before
// was allowed to publish, one window of readings does not wait for the proof.
// unreleased is how many are acknowledged and wait for it.
func (c *canary) routineAllowed(unreleased int) bool {
	return c.acksProven() || c.link.canary.provenBefore && c.held == "" &&
		unreleased+c.out.window.messages < c.out.window.max
}

// unprovable says that the broker closes the connection for the canary itself.
// Such a broker does not acknowledge what it denies.
func (c *canary) unprovable() bool {
	records := c.link.notices.records
	if len(records) == 0 {
		return false
	}
	topic := c.link.topics.Agent("canary")
	return records.deferred(noticeID{topic: topic}) || records.deferred(noticeID{topic, formSubscription})
}

// isProof says that a notice belongs to the proof that we may publish.
func (c *canary) isProof(id noticeID) bool { return id.topic == c.link.topics.Agent("canary") }

// hear takes a message on the topic. proven says that the token came back for
// the first time; released, that the backlog was held until now.
func (c *canary) hear(payload string) (proven, released bool) {
	if payload != c.token || c.heard {
		return false, false
	}
	released = c.held != ""
	c.heard, c.next = true, time.Time{}
	c.released()
	return true, released
}

// released takes note that the backlog is not held any more.
func (c *canary) released() { c.held, c.link.canary.heldLogged = "", "" }

// repeat takes the proof back, and makes another canary due: a probe was not
// heard.
func (c *canary) repeat() {
	if c.heard {
		c.heard = false
		c.prove()
	}
}

// silence draws the conclusion when the token did not come back in time. It
// returns why the backlog is to be held; empty: it is not, or is held already.
func (c *canary) silence(now time.Time) (why string) {
	proof := c.link.opt.ackBounds().proof
	switch {
	case c.next.IsZero() || now.Before(c.next) || c.out.hasReasonCodes:
	case c.held != "":
		c.read.now()
		c.prove()
	case c.out.firstAck.IsZero(): // from a broker that acknowledges nothing, silence proves nothing
		c.next = now.Add(proof)
	default:
		return fmt.Sprintf("nothing heard of it in %v", proof)
	}
	return ""
}

// hold holds the backlog. It reports whether it was not held before.
func (c *canary) hold(why string) bool {
	if !c.out.hasReasonCodes {
		c.next = time.Now().Add(canaryRetry)
	}
	if c.held != "" || c.heard {
		return false
	}
	c.held = why
	return true
}

// logHold writes the reason to the log, once until it changes.
func (c *canary) logHold() {
	if c.link.canary.heldLogged == c.held {
		return
	}
	c.link.canary.heldLogged = c.held
	topic := c.link.topics.Agent("canary")
	c.link.log.Error("the backlog is held: there is no proof that we may publish", "topic", topic, "why", c.held,
		"mend",
		"either the broker's access list denies publishing to "+c.link.opt.ClientID+"/#, or this account may write "+
			"and not read: "+
			"allow it to read "+topic+", or set mqtt.prove_publish: false")
}

// ended takes note of the end of the session.
func (c *canary) ended() {
	memory := &c.link.canary
	memory.provenBefore = c.heard || memory.provenBefore && c.held == ""
}
