package uplink

import (
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// outgoing sends on one connection, and keeps what the broker has not
// acknowledged in the order in which it was sent. All fields belong to the
// goroutine of the session.
type outgoing struct {
	conn           Conn
	noRetain       bool          // as in Options
	hasReasonCodes bool          // a PUBACK says whether the broker took a message: MQTT 5
	ackTimeout     time.Duration // without an acknowledgement, while something is in flight

	window   window
	inflight fifo[sentMessage]

	began        time.Time // of the session
	lastProgress time.Time // when the head of inflight became the head
	heldBack     time.Time // when half of the window was last waited for in vain; zero: never
	networkBack  time.Time // our network may have been away until then; zero: something was answered since
	firstAck     time.Time // zero: nothing was acknowledged yet
	answered     bool      // the broker has acknowledged something, or answered a SUBSCRIBE
	isStable     bool      // stableSession has passed since firstAck
	now          time.Time // in this turn of the session: it is not asked for with each message
	routineWaits bool      // a routine reading waits for room in the window, since fill was called
}

// A sentMessage is in flight: the broker has not answered it yet.
type sentMessage struct {
	mqtt.Token
	slot
	kind     kind
	stream   string     // of a state
	item     queue.Item // of the history
	notice   notice
	isolated bool   // a notice that goes alone: it is a suspect
	probe    *probe // nil unless the broker has to send the message back
}

// A kind says what a message in flight is, and so what follows from the answer.
type kind uint8

const (
	kindOther kind = iota
	kindHistory
	kindState
	kindBirth
	kindOnce         // at QoS 0: that it is sent says nothing about the link
	kindSubscription // SUBSCRIBE to one topic
	kindDiverted     // an item of the history that is rejected: it is not sent
	kindLate         // a reading that is too late for its format: it is not sent either
	kindRetry        // an item that was rejected, sent once more
	kindTrial        // an item that is sent while the backlog is held, to see whether the broker takes it
	kindProbe        // a reading that is sent a second time, so that it comes back
)

func newOutgoing(conn Conn, opt Options, pace *throttle) *outgoing {
	w := window{max: opt.Drain.Window, pace: pace.perSecond}
	if w.max == 0 || w.max == DefaultWindow {
		w.max, w.ceiling = DefaultWindow, maxQuickWindow
	}
	if receiveMax := conn.Facts().ReceiveMaximum; receiveMax > 0 {
		w.max, w.ceiling = min(w.max, receiveMax), min(w.ceiling, receiveMax)
	}
	return &outgoing{now: time.Now(), conn: conn, noRetain: opt.NoRetain, hasReasonCodes: conn.Facts().Version == mqtt.V5,
		ackTimeout: opt.ackBounds().acks, window: w}
}

// publish sends a message and notes that it is in flight, as a copy of f. The session
// flushes the connection before it waits.
func (o *outgoing) publish(m mqtt.Message, f *sentMessage) {
	m.Retain = m.Retain && !o.noRetain
	size := len(m.Topic) + len(m.Payload) + overhead
	if f.probe != nil {
		size += probeBytes(m.Topic)
	}
	f.slot = o.window.send(size, o.now)
	f.Token = o.conn.Enqueue(m)
	o.track(f)
}

// sendNotice publishes a notice, or subscribes if it is a subscription.
func (o *outgoing) sendNotice(n notice, isolated bool) {
	f := &sentMessage{kind: n.kind, notice: n, isolated: isolated}
	if n.kind == kindSubscription {
		o.subscribe(n.Topic, f)
		return
	}
	o.publish(n.Message, f)
}

// subscribe sends a SUBSCRIBE, which is in flight as a message is.
func (o *outgoing) subscribe(topic string, f *sentMessage) {
	f.slot = o.window.send(len(topic)+overhead, time.Now())
	if f.notice.live {
		f.Token = o.conn.SubscribeLive(topic)
	} else {
		f.Token = o.conn.Subscribe(topic)
	}
	o.track(f)
}

// unsubscribe sends an UNSUBSCRIBE, which is in flight as a message is.
func (o *outgoing) unsubscribe(topic string) {
	f := &sentMessage{slot: o.window.send(len(topic)+overhead, time.Now())}
	f.Token = o.conn.Unsubscribe(topic)
	o.track(f)
}

// track appends to what is in flight.
func (o *outgoing) track(f *sentMessage) {
	if o.inflight.len() == 0 {
		o.lastProgress = time.Now()
	}
	o.inflight.push(f)
}

// pop removes the oldest message in flight: it was answered.
func (o *outgoing) pop() {
	o.inflight.pop()
	o.lastProgress, o.networkBack = o.now, time.Time{}
}

// updateNow sets now. It is called whenever the session wakes up, before it fills the window,
// and for every maxRun readings: a message may wait for room in the outbox.
func (o *outgoing) updateNow() {
	o.now = time.Now()
	if o.inflight.len() > 0 && o.refillsHalf(o.lastProgress) && !o.refillsHalf(o.now) {
		o.heldBack = o.now
	}
}

// backTimeout is how long a connection is given when the network is back, besides
// some round trips. By then the kernel may repeat what was lost only in half a
// minute, and if our address is another one, no answer ever comes.
const backTimeout = 500 * time.Millisecond

// outageDeadline is when a connection that had to survive an outage of our network is
// taken for dead; zero: there was none, or nothing waits for an answer. One that has
// not got any answer yet is new: it was made since the outage, and how long a round
// trip takes is not known.
func (o *outgoing) outageDeadline() time.Time {
	if o.networkBack.IsZero() || o.inflight.len() == 0 || o.window.shortest == 0 {
		return time.Time{}
	}
	since := o.networkBack
	if o.lastProgress.After(since) {
		since = o.lastProgress // of the oldest message, if that was sent later
	}
	return since.Add(backTimeout + 4*o.window.shortest)
}

// awaited is closed, or gets a token, when the oldest message in flight is answered, or
// when half of the window is free, see refillsHalf; nil: nothing is in flight.
func (o *outgoing) awaited() <-chan struct{} {
	n := o.inflight.len()
	if n == 0 {
		return nil
	}
	i := 0
	if o.refillsHalf(time.Now()) {
		i = max(n-o.window.max/2-1, 0)
		if o.inflight.at(i).Answered() { // out of order, or it needs no answer: nothing would wait for it
			i = 0
		}
	}
	return o.conn.Await(o.inflight.at(i).Token)
}

// refillWait is how long after an answer half of the window is waited for: a broker
// with Nagle's algorithm may hold its acknowledgements back until we send something.
const refillWait = 5 * time.Millisecond

// heldBackFor is how long after such a wait in vain the window is refilled at once: what
// the broker holds back, it holds back again and again.
const heldBackFor = 100 * time.Millisecond

// refillsHalf says that nothing is to be done before half of the window is free: more
// is there to be sent than the window has room for, and on a quick link the other half
// keeps the broker busy meanwhile. One wake-up of the processor serves for many
// readings then. A window that has not grown is refilled at once: with 20 messages a
// broker with Nagle's algorithm stalls for 40 ms now and then.
func (o *outgoing) refillsHalf(now time.Time) bool {
	return o.routineWaits && o.window.max >= 2*DefaultWindow && o.window.shortest <= quickSlack &&
		now.Before(o.lastProgress.Add(refillWait)) && (o.heldBack.IsZero() || now.Sub(o.heldBack) >= heldBackFor)
}

// acked takes note of an acknowledgement. It reports whether it is the first one
// of the session.
func (o *outgoing) acked(f *sentMessage) (first bool) {
	o.window.acked(f.slot, o.now)
	o.answered = true
	if f.probe != nil {
		f.probe.acked = o.now
	}
	if first = o.firstAck.IsZero(); first {
		o.firstAck = o.now
	}
	return first
}

// isolated is the notice that goes alone and is in flight; nil if there is none.
func (o *outgoing) isolated() *sentMessage {
	for i := range o.inflight.len() {
		if f := o.inflight.at(i); f.isolated {
			return f
		}
	}
	return nil
}

// quietUntil is when the broker would have closed the connection for the message
// that was sent last; zero: nothing is in flight.
func (o *outgoing) quietUntil() time.Time {
	n := o.inflight.len()
	if n == 0 {
		return time.Time{}
	}
	return o.inflight.at(n - 1).sent.Add(closedAfter)
}

// due is when the window opens, the broker is taken for dead, or the session for
// stable.
func (o *outgoing) due(now time.Time) time.Time {
	opens := ifAfter(o.window.next, now) // else it waits for room in the window
	var dead, stable, refill time.Time
	if o.refillsHalf(now) {
		refill = o.lastProgress.Add(refillWait)
	}
	if o.inflight.len() > 0 {
		dead = o.lastProgress.Add(o.ackTimeout)
	}
	if !o.firstAck.IsZero() && !o.isStable {
		stable = o.firstAck.Add(stableSession)
	}
	return earliest(opens, dead, stable, refill, o.outageDeadline())
}

// expired is the error of a broker that acknowledges nothing any more.
func (o *outgoing) expired(now time.Time) error {
	if until := o.outageDeadline(); !until.IsZero() && !now.Before(until) {
		return errNetworkBack
	}
	if o.inflight.len() > 0 && now.Sub(o.lastProgress) >= o.ackTimeout {
		return fmt.Errorf("%w for %v", errNoAcks, o.ackTimeout)
	}
	return nil
}

// becomesStable reports, once, that the session has lasted for stableSession.
func (o *outgoing) becomesStable(now time.Time) bool {
	if o.isStable || o.firstAck.IsZero() || now.Sub(o.firstAck) < stableSession {
		return false
	}
	o.isStable = true
	return true
}

// lost returns why the session ends after a token has failed: the connection's own
// reason, if there is one within a second, says more than the token's error.
func (o *outgoing) lost(err error) error {
	select {
	case <-o.conn.Done():
		err = o.conn.Err()
	case <-time.After(time.Second):
	}
	return fmt.Errorf("connection lost: %w", err)
}

// alarm says that a message is a reading of the alarm lane.
func (f *sentMessage) alarm() bool { return f.kind == kindHistory && f.item.Priority == sensors.Alarm }

// earliest is the first of some times; a zero time does not count.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// ifAfter is t if it is after now; else zero.
func ifAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}
