package uplink

import (
	"errors"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// evidenceAge is how long before a refused message another one may have been sent that
// the broker took: then it refuses the stream, and not us.
const evidenceAge = time.Second

// refusals draw the conclusions from the reasons that a broker gives in PUBACK, with
// MQTT 5. There a message that the broker does not take is named at once, so that
// neither the canary nor probes are needed.
//
// A message that is itself at fault is set aside. If the broker refuses us, the
// backlog is held: nothing but alarms and trials goes. A trial is the oldest item of a
// stream; each stream has one, and again each minute. When the broker takes one, all goes
// again; a stream that it refuses right behind that is held alone.
//
// An item that is refused again after such a release must not hold the backlog once more at
// once: all behind it would be sent in each round trip and never leave the backlog. See blame.
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

	acceptedAt     time.Time       // when the latest item was sent that the broker took
	acceptedStream string          // its stream
	noted          map[string]bool // topics that the log has named

	held heldItem
	trials
}

// A heldItem is the item whose refusal held the backlog last, and what ended that.
type heldItem struct {
	id         msgID
	released   bool   // the broker took another item that was sent later
	releasedBy string // the stream of that; the empty name is that of events
}

// trials are the items that are sent while the backlog is held. The goroutine of the session
// owns them.
type trials struct {
	since  time.Time       // what was sent before does not release the backlog if the broker takes it
	trying bool            // a trial is in flight
	tried  map[string]bool // streams that had their trial
	next   time.Time       // when all streams are tried again
	cursor queue.Cursor    // behind what was looked at for trials
	looked int             // items since then; maxLooked at most
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

// refused takes an item of the backlog that the broker did not take.
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

// A blame is what the broker is taken to refuse.
type blame uint8

const (
	blameUs     blame = iota // all that we publish, for now
	blameStream              // one stream
	blameItem                // one item
)

// blame draws the conclusion from a refusal that does not name the message. One that names
// the topic is about the stream if the broker takes another stream. Any other is so if that
// is seen a second time; and if the broker took other items of the same stream, the item is
// at fault, unless a quota is.
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

// isAgain reports whether an item has held the backlog before, and the broker took another
// one then.
func (r *refusals) isAgain(it *queue.Item) bool { return r.held.released && r.held.id == msgIDOf(it) }

// begin holds the backlog. If the same item held it last, the next trial comes only in a
// minute, and nothing that the broker takes before releases the backlog.
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

// setAside sets an item aside that is itself at fault. A second one of its stream within
// rejectRetry is taken for a fault of the stream, which is held.
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

// noteOnce writes to the log, once for each topic in a session, that the broker does not
// take what the agent says of itself, or a state. The next one is sent all the same.
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

// accepted takes note that the broker accepted an item. While the backlog is held, that releases
// it.
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
	r.acks.forget() // what was taken behind what was refused comes again
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

// due is when all streams are tried again; zero: the backlog is not held.
func (r *refusals) due(now time.Time) time.Time {
	if !r.out.hasReasonCodes || r.canary.held == "" {
		return time.Time{}
	}
	return ifAfter(r.next, now)
}
