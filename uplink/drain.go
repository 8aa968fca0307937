package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// The history sends the backlog, and between its items the states, which get a share of
// the link. All fields belong to the goroutine of the session.
type history struct {
	link    *Link
	out     *outgoing
	canary  *canary
	probes  *prober
	acks    *acks
	retries *retries

	cursor         queue.Cursor    // items before it were sent in this session, or diverted
	peeked         []queue.Item    // items after the cursor; overwritten by the next peekBacklog
	drained        bool            // the backlog had no item after the cursor
	readAgainAt    time.Time       // when to retry after the backlog could not be read; zero: it can be read
	next           candidate       // the first of the peeked items
	keptTurn       bool            // the next turn is that of items kept for a held stream, see sendKept
	statesInFlight map[string]bool // streams whose state is in flight

	stateShare stateShare
	payload    []byte // buffer for the payload of one message; reused for the next
}

func newHistory(l *Link, out *outgoing) *history {
	return &history{link: l, out: out, cursor: queue.Cursor{Reuse: true}, statesInFlight: map[string]bool{}}
}

// A candidate is the next item to send, with what chooseNext found out about it. At most
// one of its flags is set.
type candidate struct {
	item     *queue.Item // nil: there is none
	rejected bool        // its stream is held, or it was refused before: it is set aside
	late     bool        // too old for its format, so it is skipped: see Link.tooLate
	alarm    bool
	routine  bool // and only the window may still delay it
}

// refresh discards the peeked items: an alarm may have arrived, which is sent first.
func (h *history) refresh() { h.peeked, h.drained = nil, false }

// chooseNext sets next. It sends nothing, so it always returns stepNone.
func (h *history) chooseNext() step {
	c := candidate{item: h.peek()}
	if it := c.item; it != nil {
		c.rejected = h.link.rejects.isRejected(it)
		c.late = !c.rejected && h.link.tooLate(it)
		c.alarm = !c.rejected && !c.late && it.Priority == sensors.Alarm
		c.routine = !c.rejected && !c.late && !c.alarm && h.canary.routineAllowed(h.acks.len()) && h.link.maySend(it) &&
			!h.acks.full(it.Priority)
	}
	h.next = c
	return stepNone
}

// divertUnsent diverts the next item if it is not to be sent: because it is rejected, or
// because it is too late for its format.
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
	case h.canary.held != "": // decided again after the hold, when the cursor is rewound
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

// sendItemOfAnyLane sends the next item, routine or alarm, unless it is to be diverted.
func (h *history) sendItemOfAnyLane() bool {
	if h.next.item == nil || h.next.rejected || h.next.late {
		return false
	}
	h.sendItem(h.next.item)
	return true
}

// sendKept sends an item that was kept while its stream was held. Kept items and routine
// readings take turns.
func (h *history) sendKept() step {
	if h.next.routine && !h.keptTurn || !h.retries.tryHeld() {
		return stepNone
	}
	h.keptTurn = false
	return stepSent
}

// maxRun is how many routine readings are sent in a row before the other sources are asked
// again. To ask all sources costs as much CPU time as to send a reading.
const maxRun = 16

// sendRoutine sends a routine reading, and up to maxRun in a row while the window has
// room and no other source can have a message of higher priority. That cannot change
// during the run: answers are processed only after fill, and the peeked items have no
// alarm after a routine reading.
func (h *history) sendRoutine() step {
	if !h.next.routine {
		return stepNone
	}
	h.keptTurn = true
	h.out.updateNow()
	run := 1
	if h.isUndisturbed() {
		run = maxRun
	}
	for {
		h.link.pace.take()
		h.sendItem(h.next.item)
		if run--; run == 0 || !h.out.window.open() {
			return stepSent
		}
		if h.chooseNext(); !h.next.routine {
			return stepSent
		}
	}
}

// isUndisturbed reports whether no message is a suspect, held or tried again, so that
// routine readings need not take turns with others.
func (h *history) isUndisturbed() bool {
	return len(h.link.suspects) == 0 && len(h.link.notices.records) == 0 && len(h.link.rejects.held) == 0 &&
		!h.retries.trying && h.canary.acksProven()
}

// due returns when to retry reading the backlog; zero: it is not waiting for a retry.
func (h *history) due(now time.Time) time.Time { return ifAfter(h.readAgainAt, now) }

// pass advances the cursor over the first peeked item.
func (h *history) pass() {
	h.cursor.Advance(h.peeked[0])
	h.peeked = h.peeked[1:]
}

// peek returns the oldest item of the backlog that was not sent in this session; nil if
// there is none, if the window is full, or while the backlog cannot be read.
func (h *history) peek() *queue.Item {
	if len(h.peeked) == 0 && !h.drained && h.out.window.openToAlarm() && !time.Now().Before(h.readAgainAt) {
		h.peeked = h.peekBacklog(h.out.window.max - h.out.window.messages)
		h.drained = len(h.peeked) == 0
	}
	if len(h.peeked) == 0 {
		return nil
	}
	return &h.peeked[0]
}

// peekBacklog returns up to maxItems items after the cursor. It logs the first failure of a
// row, and sets readAgainAt after each.
func (h *history) peekBacklog(maxItems int) []queue.Item {
	items, err := h.link.backlog.Peek(&h.cursor, maxItems)
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

// sendState sends a changed state, and reports whether there was one. busy means that
// routine readings are waiting: then states are limited to their share. A state that
// changes again while it is in flight is sent after its acknowledgement.
func (h *history) sendState(busy bool) bool {
	if busy && !h.stateShare.allows() {
		return false
	}
	r, ok := h.link.states.next(h.statesInFlight, h.link.rejects.mutedStates)
	if !ok {
		return false
	}
	m := h.link.state(r)
	h.statesInFlight[r.Stream] = true
	h.out.publish(m, &sentMessage{kind: kindState, stream: r.Stream})
	if busy {
		h.stateShare.addState(len(m.Topic) + len(m.Payload))
	}
	return true
}

// divert queues an item among the messages in flight without sending it. So it is
// rejected or skipped only when all items before it are acknowledged.
func (h *history) divert(it *queue.Item, kind kind) {
	h.out.track(&sentMessage{Token: ackedToken{}, kind: kind, item: *it})
	h.pass()
}

// skipping reports whether a reading that is too late is still to be removed from the
// backlog.
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
	h.stateShare.addHistory(len(m.Topic) + len(m.Payload))
}

// message returns an item as it is published. The payload is valid until the next call.
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

// A stateShare limits states to a third of the bytes on a busy link: after a state of n
// bytes, 2n bytes of history are sent before the next state.
type stateShare struct{ credit int } // bytes; negative: history is sent first

// maxCredit lets a few states through at once after a time without any. In bytes.
const maxCredit = 2048

func (s *stateShare) allows() bool   { return s.credit >= 0 }
func (s *stateShare) addState(n int) { s.credit -= 2 * n }
func (s *stateShare) addHistory(n int) {
	s.credit = min(s.credit+n, maxCredit)
}
