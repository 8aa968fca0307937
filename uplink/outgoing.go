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
	hasReasonCodes bool          // a PUBACK says whether the broker has accepted the message: MQTT 5
	ackTimeout     time.Duration // without an acknowledgement, while something is in flight

	window   window
	inflight fifo[sentMessage]

	began        time.Time // of the session
	lastProgress time.Time // when the head of inflight became the head
	heldBack     time.Time // when a wait for half of the window last ran into refillWait; zero: never
	networkBack  time.Time // when our network came back last; zero: a message was answered since
	firstAck     time.Time // time of the first acknowledgement; zero: there was none
	answered     bool      // the broker has acknowledged something, or answered a SUBSCRIBE
	isStable     bool      // stableSession has passed since firstAck
	now          time.Time // cached by updateNow, so that the clock is not read for each message
	routineWaits bool      // the last fill ended because a routine reading had no room in the window
}

// A sentMessage is a message in flight, which the broker has not answered yet, or an item
// that is not sent but waits for its turn among them (kindDiverted, kindLate).
type sentMessage struct {
	mqtt.Token
	slot
	kind     kind
	stream   string     // of a state
	item     queue.Item // of the history
	notice   notice
	isolated bool   // a notice that is in flight alone, because it is a suspect
	probe    *probe // nil unless the broker has to send the message back
}

// A kind says what a message in flight is. It decides how an answer is handled.
type kind uint8

const (
	kindOther kind = iota
	kindHistory
	kindState
	kindBirth
	kindOnce         // at QoS 0: it has no acknowledgement
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

// publish enqueues a message and records it in flight, as a copy of f. The session flushes
// the connection before it waits.
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

// updateNow reads the clock into now. It is called whenever the session wakes up, before it fills the window,
// and for every maxRun readings: a message may wait for room in the outbox.
func (o *outgoing) updateNow() {
	o.now = time.Now()
	if o.inflight.len() > 0 && o.refillsHalf(o.lastProgress) && !o.refillsHalf(o.now) {
		o.heldBack = o.now
	}
}

// backTimeout is how long we wait for an answer when the network is back, in addition to
// four round trips. Without it we would wait long: the kernel may retransmit only after half
// a minute, and if our address has changed, no answer ever comes.
const backTimeout = 500 * time.Millisecond

// outageDeadline returns when to give up a connection on which nothing was answered since
// an outage of our network; zero: there was no outage, or nothing is in flight. A
// connection without any answer is new and has no deadline: it was made after the outage,
// and its round-trip time is not known.
func (o *outgoing) outageDeadline() time.Time {
	if o.networkBack.IsZero() || o.inflight.len() == 0 || o.window.shortest == 0 {
		return time.Time{}
	}
	since := o.networkBack
	if o.lastProgress.After(since) {
		since = o.lastProgress // the oldest message was sent after the outage
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
		if o.inflight.at(i).Answered() { // answered out of order, or at QoS 0: it would not wake us
			i = 0
		}
	}
	return o.conn.Await(o.inflight.at(i).Token)
}

// refillWait limits the wait for half of the window after an answer: a broker with Nagle's
// algorithm may delay its acknowledgements until we send something.
const refillWait = 5 * time.Millisecond

// heldBackFor is how long after such a delay the window is refilled at once, because the
// broker will delay the next acknowledgements, too.
const heldBackFor = 100 * time.Millisecond

// refillsHalf reports whether to wait until half of the window is free: more readings wait
// than the window has room for, and on a quick link the other half keeps the broker busy.
// So one wake-up of the processor serves many readings. A window that has not grown is
// refilled at once: with 20 messages, a broker with Nagle's algorithm sometimes stalls for
// 40 ms.
func (o *outgoing) refillsHalf(now time.Time) bool {
	return o.routineWaits && o.window.max >= 2*DefaultWindow && o.window.shortest <= quickSlack &&
		now.Before(o.lastProgress.Add(refillWait)) && (o.heldBack.IsZero() || now.Sub(o.heldBack) >= heldBackFor)
}

// acked records an acknowledgement, and reports whether it is the first one of the session.
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

// isolated returns the notice in flight that was sent alone; nil if there is none.
func (o *outgoing) isolated() *sentMessage {
	for i := range o.inflight.len() {
		if f := o.inflight.at(i); f.isolated {
			return f
		}
	}
	return nil
}

// quietUntil returns the time by which the broker would have closed the connection because of
// the last message; zero: nothing is in flight.
func (o *outgoing) quietUntil() time.Time {
	n := o.inflight.len()
	if n == 0 {
		return time.Time{}
	}
	return o.inflight.at(n - 1).sent.Add(closedAfter)
}

// due returns when the window opens, when a missing answer ends the session, or when the
// session becomes stable, whatever is first; zero: none of these.
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

// expired returns why the connection has to be closed, if answers have not come in time;
// otherwise nil.
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

// alarm reports whether the message is an item of the alarm lane.
func (f *sentMessage) alarm() bool { return f.kind == kindHistory && f.item.Priority == sensors.Alarm }

// earliest returns the first of several times, without the zero ones; zero if all are.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// ifAfter returns t if it is after now, else the zero time.
func ifAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}
