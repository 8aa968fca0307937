package uplink

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// canaryRetry is the time between two canaries while the backlog is held.
const canaryRetry = time.Minute

// A canary proves that we may publish. It is used with MQTT 3.1.1 only, which has no
// answer for "you may not publish this": a broker acknowledges a message that its access
// list denies, and drops it. So a session publishes a token on a topic that it has
// subscribed to, and does not trust any acknowledgement until the token has come back.
// With MQTT 5 the PUBACK has a reason code: see refusals.
//
// If the token does not come back, the backlog is held: only alarms are sent, and
// everything stays in the queue. All fields belong to the goroutine of the session.
type canary struct {
	link       *Link
	out        *outgoing
	read, send once // the subscription to the topic; the token

	token string
	heard bool      // the token has come back
	held  string    // why the backlog is held; empty: it is not
	next  time.Time // when checkTimeout acts: the token is overdue, or a new canary is due; zero: never
}

// canaryMemory is the state of the canary that lives longer than a session. Only the goroutine
// of the session uses it.
type canaryMemory struct {
	sent         int             // number of tokens sent; makes each unique
	provenBefore bool            // a session has proved that we may publish, and no later one has failed to
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

// notice returns the message, and starts the time in which it has to come back.
func (c *canary) notice() notice {
	c.next = time.Now().Add(c.link.opt.ackBounds().proof)
	return notice{Message: mqtt.Message{Topic: c.link.topics.Agent("canary"), Payload: []byte(c.token)}}
}

// acksProven reports whether an acknowledgement of the broker means that it has the
// message: because the token has come back, or because no proof is possible.
func (c *canary) acksProven() bool {
	if c.out.hasReasonCodes {
		return c.held == ""
	}
	return c.heard || c.link.opt.NoProof || c.unprovable()
}

// routineAllowed reports whether routine readings may be sent. If the previous session
// was allowed to publish, one window of readings is sent before the proof. unreleased is
// the number of items that are acknowledged and wait for the proof.
func (c *canary) routineAllowed(unreleased int) bool {
	return c.acksProven() || c.link.canary.provenBefore && c.held == "" &&
		unreleased+c.out.window.messages < c.out.window.max
}

// unprovable reports whether the broker closes the connection because of the canary itself.
// Such a broker does not acknowledge what it denies, so no proof is needed.
func (c *canary) unprovable() bool {
	records := c.link.notices.records
	if len(records) == 0 {
		return false
	}
	topic := c.link.topics.Agent("canary")
	return records.deferred(noticeID{topic: topic}) || records.deferred(noticeID{topic, formSubscription})
}

// isProof reports whether a notice is the canary or its subscription.
func (c *canary) isProof(id noticeID) bool { return id.topic == c.link.topics.Agent("canary") }

// onMessage handles a message on the topic of the canary. proven says that the token came
// back for the first time; released, that this ends a hold of the backlog.
func (c *canary) onMessage(payload string) (proven, released bool) {
	if payload != c.token || c.heard {
		return false, false
	}
	released = c.held != ""
	c.heard, c.next = true, time.Time{}
	c.released()
	return true, released
}

// released clears the reason of a hold that has ended.
func (c *canary) released() { c.held, c.link.canary.heldLogged = "", "" }

// repeat withdraws the proof and makes a new canary due. It is called when a probe has not
// come back.
func (c *canary) repeat() {
	if c.heard {
		c.heard = false
		c.prove()
	}
}

// checkTimeout returns why the backlog has to be held, if the token has not come back in
// time; empty: there is no reason, or it is already held. While it is held, a new canary
// becomes due.
func (c *canary) checkTimeout(now time.Time) (why string) {
	proof := c.link.opt.ackBounds().proof
	switch {
	case c.next.IsZero() || now.Before(c.next) || c.out.hasReasonCodes:
	case c.held != "":
		c.read.now()
		c.prove()
	case c.out.firstAck.IsZero(): // a broker that acknowledges nothing may be slow: wait longer
		c.next = now.Add(proof)
	default:
		return fmt.Sprintf("nothing heard of it in %v", proof)
	}
	return ""
}

// hold sets the reason of a hold, and reports whether this begins one: the backlog was not
// held, and the token has not come back.
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

// logHold logs the reason of the hold, unless it was the last one logged.
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

// ended updates provenBefore at the end of the session.
func (c *canary) ended() {
	memory := &c.link.canary
	memory.provenBefore = c.heard || memory.provenBefore && c.held == ""
}
