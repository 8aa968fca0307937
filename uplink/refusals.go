package uplink

import (
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// evidenceAge is how long before a refused message an accepted one of another stream may
// have been sent to prove that the broker refuses only this stream.
const evidenceAge = time.Second

// refusals handles the reason codes of PUBACK, with MQTT 5. They say at once which message
// the broker does not accept, so neither the canary nor probes are needed.
//
// A message that is itself at fault is set aside. If the broker refuses everything, the
// backlog is held: only alarms and trials are sent. A trial is the oldest item of a stream;
// each stream has one a minute. When the broker accepts a trial, the hold ends; a stream
// that is refused right after that is held alone.
//
// An item that is refused again after a hold must not start another hold at once: all items
// after it would be sent in each round trip and never be removed from the backlog. See blame.
//
// All fields belong to the goroutine of the session.
type refusals struct {
	link    *Link
	out     *outgoing
	canary  *canary
	acks    *acks
	retries *retries
	history *history
	notices *notices

	hold    func(why string) // of the session
	release func()

	acceptedAt     time.Time       // when the last accepted item was sent
	acceptedStream string          // its stream
	noted          map[string]bool // topics that the log has named

	held heldItem
	trials
}

// A heldItem is the item whose refusal started the last hold, and what ended the hold.
type heldItem struct {
	id         msgID
	released   bool   // the broker has accepted an item that was sent later
	releasedBy string // the stream of that; the empty name is that of events
}

// trials are the items that are sent while the backlog is held, to find out whether the
// broker accepts them. All fields belong to the goroutine of the session.
type trials struct {
	since  time.Time       // an accepted item that was sent before this time does not end the hold
	trying bool            // a trial is in flight
	tried  map[string]bool // streams that had a trial since the last next
	next   time.Time       // when all streams are tried again
	cursor queue.Cursor    // after the items that candidate has examined
	looked int             // number of items examined since the rewind; at most maxLooked
}

// refusalOf returns why the broker has refused a message; nil if it has not.
func refusalOf(err error) *mqtt.PublishError {
	var refused *mqtt.PublishError
	if err != nil && errors.As(err, &refused) {
		return refused
	}
	return nil
}

// handle draws the conclusion from one refusal.
func (r *refusals) handle(f *sentMessage, why *mqtt.PublishError) {
	switch f.kind {
	case kindHistory:
		r.refused(f, why)
	case kindTrial:
		r.trying = false // the next stream has its trial
	case kindRetry:
		r.refusedAgain(f, why)
	case kindState:
		delete(r.history.statesInFlight, f.stream)
		r.noteOnce(r.link.topics.State(f.stream), why)
	default:
		if why.AboutMessage() && f.notice.Topic != "" {
			r.notices.refused(f, why)
			return
		}
		r.noteOnce(f.notice.Topic, why)
	}
}

// refused handles an item of the backlog that the broker did not accept.
func (r *refusals) refused(f *sentMessage, why *mqtt.PublishError) {
	it, held := &f.item, r.link.rejects.held[f.item.Stream] != nil
	switch {
	case r.canary.held != "":
		return // it stays in the backlog
	case held:
	case why.AboutMessage():
		r.setAside(it, why)
	default:
		switch r.blame(f, why) {
		case blameStream:
			r.retries.holdStream(it.Stream, r.link.topics.History(it.Stream), f.sent, why.Error())
		case blameItem:
			r.setAside(it, why)
		case blameUs:
			r.begin(f, why)
			return
		}
	}
	r.acks.push(&outcome{item: *it, reject: true})
}

// A blame is what the broker is assumed to refuse.
type blame uint8

const (
	blameUs     blame = iota // all that we publish, for now
	blameStream              // one stream
	blameItem                // one item
)

// blame decides what a refusal is about whose code does not name the message. A code about
// the topic is about the stream if the broker accepts another stream. Any other code is
// about the stream only if that happens a second time. If the broker then accepts other
// items of the same stream, the item is at fault, unless the code is about a quota.
func (r *refusals) blame(f *sentMessage, why *mqtt.PublishError) blame {
	stream := f.item.Stream
	again := r.isAgain(&f.item)
	takesOther := r.acceptedStream != stream && f.sent.Sub(r.acceptedAt) < evidenceAge ||
		again && r.held.releasedBy != stream
	switch {
	case takesOther && (why.AboutTopic() || again):
		return blameStream
	case again && !why.AboutTopic() && !why.AboutQuota():
		return blameItem
	}
	return blameUs
}

// isAgain reports whether the item started the last hold, and an accepted item ended it.
func (r *refusals) isAgain(it *queue.Item) bool { return r.held.released && r.held.id == msgIDOf(it) }

// begin starts a hold of the backlog. If the same item started the last hold, trials begin
// only after a minute, and no accepted item ends the hold before.
func (r *refusals) begin(f *sentMessage, why *mqtt.PublishError) {
	r.since, r.next = f.sent, time.Now().Add(holdRetry)
	if r.isAgain(&f.item) {
		r.since = r.next
	}
	r.held = heldItem{id: msgIDOf(&f.item)}
	r.tried = map[string]bool{f.item.Stream: true}
	r.cursor.Rewind()
	r.looked = 0
	r.hold(why.Error())
	memory := &r.link.canary
	if memory.heldLogged == why.Error() {
		return
	}
	memory.heldLogged = why.Error()
	r.link.log.Error("the backlog is held: the broker refuses what we publish", "topic",
		r.link.topics.History(f.item.Stream), "why", why, "mend",
		"let the broker's access list allow this client to write "+r.link.opt.ClientID+"/#, or see its log")
}

// setAside logs that an item is itself at fault, and schedules its retry. If this is the
// second such item of its stream within rejectRetry, the whole stream is held.
func (r *refusals) setAside(it *queue.Item, why *mqtt.PublishError) {
	rejects, now, topic := &r.link.rejects, time.Now(), r.link.topics.History(it.Stream)
	last, before := rejects.lastReject[it.Stream]
	rejects.wait(now)
	if before && now.Sub(last) < rejectRetry {
		rejects.held[it.Stream] = &hold{closes: true}
		r.link.log.Error("the broker refuses one message after another of a stream: they are kept and tried again in a day",
			"stream", it.Stream, "topic", topic, "why", why)
		r.link.report("aside", map[string]any{"stream": it.Stream, "held": true})
		r.retries.health.changed()
	} else {
		r.link.log.Error("the broker refuses a message: it is set aside and tried again in a day", "stream", it.Stream,
			"boot", it.Boot, "seq", it.Seq, "topic", topic, "why", why, "look", "holdfast queue export --aside")
	}
	rejects.lastReject[it.Stream] = now
	rejects.newRound()
}

// refusedAgain takes an item that was set aside, or kept with its stream, and sent again.
func (r *refusals) refusedAgain(f *sentMessage, why *mqtt.PublishError) {
	it := &f.item
	r.retries.trying = false
	switch h := r.link.rejects.held[it.Stream]; {
	case it.Declared() || h == nil || why.AboutMessage():
		r.link.log.Warn("the broker still refuses what is set aside", "stream", it.Stream, "boot", it.Boot, "seq",
			it.Seq, "why", why)
		r.link.rejects.tried[msgIDOf(it)] = true
		if !it.Declared() && h != nil {
			h.closes, h.open, r.link.rejects.again[it.Stream] = true, false, true
		}
	default:
		r.retries.holdStream(it.Stream, r.link.topics.History(it.Stream), f.sent, why.Error())
	}
}

// noteOnce logs, once for each topic in a session, that the broker does not accept a state or
// another message about the agent. The next one is still sent.
func (r *refusals) noteOnce(topic string, why *mqtt.PublishError) {
	if topic == "" || r.noted[topic] {
		return
	}
	if r.noted == nil {
		r.noted = map[string]bool{}
	}
	r.noted[topic] = true
	if r.link.journal.once("refused: " + topic) {
		r.link.log.Warn("the broker refuses a message about ourselves", "topic", topic, "why", why)
	}
}

// accepted records that the broker accepted an item. If the backlog is held, that releases it.
func (r *refusals) accepted(f *sentMessage) {
	if f.kind == kindTrial {
		r.trying = false
	}
	if !r.out.hasReasonCodes {
		return
	}
	r.acceptedAt, r.acceptedStream = f.sent, f.item.Stream
	r.link.noteUnheard(f.item.Stream, f.Token)
	if r.canary.held == "" || f.sent.Before(r.since) {
		return
	}
	r.held.released, r.held.releasedBy = true, f.item.Stream
	r.acks.forget() // items accepted after the refused one are sent again, in order
	r.release()
}

// tryHeld sends the next trial while the backlog is held.
func (r *refusals) tryHeld() step {
	if !r.out.hasReasonCodes || r.canary.held == "" || r.trying || time.Now().Before(r.since) {
		return stepNone
	}
	it := r.candidate()
	if it == nil {
		return stepNone
	}
	r.trying, r.tried[it.Stream] = true, true
	r.out.publish(r.history.message(it), &sentMessage{kind: kindTrial, item: *it})
	return stepSent
}

// maxLooked bounds how many items candidate looks at in a minute: the backlog keeps what
// was looked at in memory. A stream whose oldest item is behind them has no trial.
const maxLooked = 4096

// candidate returns the oldest item of a stream that is to be tried; nil: there is none
// for now.
func (r *refusals) candidate() *queue.Item {
	if now := time.Now(); !now.Before(r.next) {
		r.next = now.Add(holdRetry)
		r.cursor.Rewind()
		r.looked = 0
		clear(r.tried)
	}
	for r.looked < maxLooked {
		items, err := r.link.backlog.Peek(&r.cursor, 64)
		if err != nil || len(items) == 0 {
			return nil
		}
		for i := range items {
			it := &items[i]
			r.cursor.Advance(*it)
			r.looked++
			if !r.tried[it.Stream] && !r.link.rejects.isRejected(it) && !r.link.tooLate(it) {
				return it
			}
		}
	}
	return nil
}

// due returns when all streams are tried again; zero: the backlog is not held.
func (r *refusals) due(now time.Time) time.Time {
	if !r.out.hasReasonCodes || r.canary.held == "" {
		return time.Time{}
	}
	return ifAfter(r.next, now)
}
