package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// The history drains the backlog, and sends states in their share of the link.
// All fields belong to the goroutine of the session.
type history struct {
	link    *Link
	out     *outgoing
	canary  *canary
	probes  *prober
	acks    *acks
	retries *retries

	cursor      queue.Cursor    // what it has passed was sent in this session, or diverted
	peeked      []queue.Item    // beyond the cursor; overwritten by the next look
	drained     bool            // there was nothing beyond it
	readAgainAt time.Time       // the backlog cannot be read: not before it is tried again; zero: it can
	next        candidate       // of the peeked items the first
	keptTurn    bool            // what is kept of a stream goes before a routine reading
	flying      map[string]bool // streams whose state is in flight

	stateShare stateShare
	payload    []byte // of the message that is sent; used again for the next one
}

func newHistory(l *Link, out *outgoing) *history {
	return &history{link: l, out: out, cursor: queue.Cursor{Reuse: true}, flying: map[string]bool{}}
}

// A candidate is the item that goes next, and what it is.
type candidate struct {
	item     *queue.Item // nil: there is none
	rejected bool        // the broker does not take it
	late     bool        // it is not sent: see Link.tooLate
	alarm    bool
	routine  bool // and it may go now, for all but the window
}

// refresh forgets what was peeked: an alarm may have arrived, which goes first.
func (h *history) refresh() { h.peeked, h.drained = nil, false }

// chooseNext finds the item that goes next. It sends nothing.
func (h *history) chooseNext() step {
	c := candidate{item: h.peek()}
	if it := c.item; it != nil {
		c.rejected = h.link.rejects.isRejected(it)
		c.late = !c.rejected && h.link.tooLate(it)
		c.alarm = !c.rejected && !c.late && it.Priority == sensors.Alarm
		c.routine = !c.rejected && !c.late && !c.alarm && h.canary.routineAllowed(h.acks.len()) && h.link.mayGo(it) &&
			!h.acks.full(it.Priority)
	}
	h.next = c
	return stepNone
}

// divertUnsent takes an item out of the way that is not sent: the broker does not take
// it, or it is too late for its format.
func (h *history) divertUnsent() step {
	it, kind := h.next.item, kindDiverted
	if h.next.late {
		kind = kindLate
	}
	switch {
	case !h.next.rejected && !h.next.late:
		return stepNone
	case h.canary.acksProven() && h.out.inflight.len() < 2*h.out.window.max:
		h.divert(it, kind)
		return stepSent
	case h.canary.held != "": // it is sent when the others are
		h.pass()
		return stepSent
	}
	return stepNone
}

func (h *history) sendAlarm() step {
	if !h.next.alarm || !h.out.window.openToAlarm() || h.acks.full(sensors.Alarm) {
		return stepNone
	}
	h.sendItem(h.next.item)
	return stepSent
}

// sendItemOfAnyLane sends an item, if there is one that the broker takes.
func (h *history) sendItemOfAnyLane() bool {
	if h.next.item == nil || h.next.rejected || h.next.late {
		return false
	}
	h.sendItem(h.next.item)
	return true
}

// sendKept sends what is kept of a stream. It takes turns with routine readings.
func (h *history) sendKept() step {
	if h.next.routine && !h.keptTurn || !h.retries.tryHeld() {
		return stepNone
	}
	h.keptTurn = false
	return stepSent
}

// maxRun is how many routine readings are sent before the other sources are asked
// again. Asking them all costs as much as sending a reading.
const maxRun = 16

// sendRoutine sends a routine reading, and those behind it as long as the window has
// room and no other source could have something that goes first: what the session
// waits for is acknowledged in a later turn, and what was peeked has no alarm behind
// a routine reading.
func (h *history) sendRoutine() step {
	if !h.next.routine {
		return stepNone
	}
	h.keptTurn = true
	h.out.turn()
	run := 1
	if h.isUndisturbed() {
		run = maxRun
	}
	for {
		h.link.pace.pass()
		h.sendItem(h.next.item)
		if run--; run == 0 || !h.out.window.open() {
			return stepSent
		}
		if h.chooseNext(); !h.next.routine {
			return stepSent
		}
	}
}

// isUndisturbed says that nothing is under suspicion, held or set aside: routine
// readings do not take turns with anything then.
func (h *history) isUndisturbed() bool {
	return len(h.link.suspects) == 0 && len(h.link.notices.records) == 0 && len(h.link.rejects.held) == 0 &&
		!h.retries.trying && h.canary.acksProven()
}

// due is when the backlog is to be read again.
func (h *history) due(now time.Time) time.Time { return ifAfter(h.readAgainAt, now) }

// pass moves the cursor behind the first item that was peeked.
func (h *history) pass() {
	h.cursor.Advance(h.peeked[0])
	h.peeked = h.peeked[1:]
}

// peek is the oldest item of the backlog that was not sent in this session; nil
// if there is none.
func (h *history) peek() *queue.Item {
	if len(h.peeked) == 0 && !h.drained && h.out.window.openToAlarm() && !time.Now().Before(h.readAgainAt) {
		h.peeked = h.look(h.out.window.max - h.out.window.messages)
		h.drained = len(h.peeked) == 0
	}
	if len(h.peeked) == 0 {
		return nil
	}
	return &h.peeked[0]
}

func (h *history) look(most int) []queue.Item {
	items, err := h.link.backlog.Peek(&h.cursor, most)
	switch {
	case err == nil:
		h.readAgainAt = time.Time{}
		return items
	case h.readAgainAt.IsZero():
		h.link.log.Error("backlog cannot be read", "err", err, "retry_every", retryRead)
	}
	h.readAgainAt = time.Now().Add(retryRead)
	return nil
}

// sendState sends a state that changed, if there is one and the history leaves
// room for it. A state that changes while it is in flight waits.
func (h *history) sendState(busy bool) bool {
	if busy && !h.stateShare.allows() {
		return false
	}
	r, ok := h.link.states.next(h.flying, h.link.rejects.mutedStates)
	if !ok {
		return false
	}
	m := h.link.state(r)
	h.flying[r.Stream] = true
	h.out.publish(m, &sentMessage{kind: kindState, stream: r.Stream})
	if busy {
		h.stateShare.state(len(m.Topic) + len(m.Payload))
	}
	return true
}

// divert takes an item out of the way, once all before it are acknowledged: it lines
// up with what is in flight.
func (h *history) divert(it *queue.Item, kind kind) {
	h.out.track(&sentMessage{Token: arrived{}, kind: kind, item: *it})
	h.pass()
}

// skipping says that a reading that is too late is on its way out of the backlog.
func (h *history) skipping() bool {
	for i := range h.out.inflight.len() {
		if h.out.inflight.at(i).kind == kindLate {
			return true
		}
	}
	for _, lane := range h.acks.lists() {
		for i := range lane.len() {
			if lane.at(i).late {
				return true
			}
		}
	}
	return false
}

func (h *history) sendItem(it *queue.Item) {
	m, f := h.message(it), sentMessage{kind: kindHistory, item: *it}
	if h.probes.mayProbe() && h.link.proofs.due(it.Stream, h.out.now) {
		h.probes.send(it.Stream, m, f, false)
	} else {
		h.out.publish(m, &f)
	}
	h.pass()
	h.stateShare.history(len(m.Topic) + len(m.Payload))
}

// message is an item as it is published. The payload is good until the next call.
func (h *history) message(it *queue.Item) mqtt.Message {
	historical := h.link.historical(it)
	if it.Event == "" && h.link.opt.Formats.Of(it.Stream).IsPlain() {
		h.payload = payload.AppendPlain(h.payload[:0], &it.Reading)
	} else {
		h.payload = payload.Append(h.payload[:0], *it, historical)
	}
	return mqtt.Message{Topic: h.link.topics.History(it.Stream), Payload: h.payload,
		Properties: h.link.opt.propertiesOf(it, historical)}
}

// A stateShare gives states a third of a busy link at most: a state may go when
// twice as many bytes of history went since.
type stateShare struct{ credit int }

// enough for a few states at once, after a time without any.
const maxCredit = 2048

func (s *stateShare) allows() bool { return s.credit >= 0 }
func (s *stateShare) state(n int)  { s.credit -= 2 * n }
func (s *stateShare) history(n int) {
	s.credit = min(s.credit+n, maxCredit)
}
