package uplink

import (
	"cmp"
	"errors"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const (
	// deferAfter is how many sessions in a row have to end while a notice is in flight, the
	// last two while it is alone, before it is deferred.
	deferAfter  = 3
	minDeferral = time.Hour // the first deferral; it doubles each time the notice fails again
	maxDeferral = 24 * time.Hour
	clearEnds   = 3 // sessions that end while a clear is alone in flight: then the other clears are dropped
)

// noticeRecords records which notices were in flight when sessions ended. A broker of
// MQTT 3.1.1 closes the connection if it refuses a message, and a link may lose large
// packets. If such a notice was sent again in each session, all sessions would end and
// nothing else would arrive.
//
// A notice that was in flight when a session ended is a suspect: it is sent after
// everything else and alone, so that the next end shows which one is the cause. After
// deferAfter ends it is deferred: another form is sent, if there is one, and this one is
// retried rarely. An acknowledged notice is no suspect any more.
type noticeRecords map[noticeID]*noticeRecord

type noticeRecord struct {
	ends  int           // sessions in a row that ended while it was in flight
	bytes int           // of topic and payload
	retry time.Time     // it is deferred until then; zero: it is not deferred
	wait  time.Duration // the last deferral
}

func (all noticeRecords) ends(id noticeID) int {
	if r := all[id]; r != nil {
		return r.ends
	}
	return 0
}

func (all noticeRecords) known(id noticeID) bool { return all[id] != nil }

// of returns the record of a notice, and makes one if there is none: a notice that was
// never acknowledged is sent alone, too, and has no record then.
func (all noticeRecords) of(id noticeID) *noticeRecord {
	if all[id] == nil {
		all[id] = &noticeRecord{}
	}
	return all[id]
}

// suspect reports whether a notice has to be sent alone. While there is any suspect, that
// includes all notices that were never acknowledged, because a broker that refuses one
// notice often refuses others, too.
func (n *notices) suspect(id noticeID) bool {
	return len(n.link.notices.records) > 0 && (n.link.notices.records.known(id) || !n.link.notices.acked[id])
}

// retryAt returns until when a notice is deferred; zero if it is not deferred.
func (all noticeRecords) retryAt(id noticeID) time.Time {
	if r := all[id]; r != nil {
		return r.retry
	}
	return time.Time{}
}

// deferred reports whether a notice is deferred. It is until it is acknowledged, also when
// a retry is due.
func (all noticeRecords) deferred(id noticeID) bool { return !all.retryAt(id).IsZero() }

// suspectOne records that a session ended while a notice and others were in flight.
func (all noticeRecords) suspectOne(id noticeID, bytes int) {
	if all[id] == nil {
		all[id] = &noticeRecord{ends: 1}
	}
	all[id].bytes = bytes
}

// failed records that a session ended while only this notice was in flight, and reports
// whether it is deferred now. It is not deferred because of a session in which the broker
// answered nothing: such a broker may not accept anything.
func (all noticeRecords) failed(id noticeID, bytes int, answered bool, now time.Time) bool {
	r := all.of(id)
	r.bytes = bytes
	if r.ends+1 >= deferAfter && !answered {
		return false
	}
	if r.ends++; r.ends < deferAfter {
		return false
	}
	all.postpone(id, now)
	return true
}

// postpone defers a notice: twice as long as the last time, within the limits.
func (all noticeRecords) postpone(id noticeID, now time.Time) {
	r := all[id]
	r.ends = max(r.ends, deferAfter)
	r.wait = min(max(2*r.wait, minDeferral), maxDeferral)
	r.retry = now.Add(r.wait)
}

// A deferredNotice is a notice that is deferred, as in the heartbeat.
type deferredNotice struct {
	Topic string `json:"topic"`
	Bytes int    `json:"bytes"`
}

// deferredNotices returns the deferred notices, sorted by topic.
func (all noticeRecords) deferredNotices() (list []deferredNotice) {
	for id, r := range all {
		if all.deferred(id) {
			list = append(list, deferredNotice{id.topic, r.bytes})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Bytes, b.Bytes)) < 0
	})
	return list
}

// answered records that a message was acknowledged. With it, notices at QoS 0 that were
// sent before are confirmed.
func (n *notices) answered(f *sentMessage) {
	if len(n.unconfirmed) > 0 {
		for i := range n.unconfirmed {
			n.confirm(&n.unconfirmed[i])
		}
		n.unconfirmed = n.unconfirmed[:0]
	}
	switch id := f.notice.id; {
	case f.notice.Topic == "", id == n.announcer.entities.group && len(n.announcer.entities.all) > 0,
		id.form == formClears && len(n.link.notices.clears.all) > 0:
		return // not a notice, or not the last one of its group
	}
	n.confirm(f)
}

// size is the size of topic and payload in bytes.
func (f *sentMessage) size() int { return len(f.notice.Topic) + len(f.notice.Payload) }

// sameNotice reports whether another message is the same notice, whatever its payload.
func (f *sentMessage) sameNotice(other sentMessage) bool { return f.notice.id == other.notice.id }

func (n *notices) confirm(f *sentMessage) {
	id := f.notice.id
	n.link.notices.acked[id] = true
	if n.link.notices.records.deferred(id) {
		n.link.log.Info("a message about ourselves gets through again", "topic", id.topic, "bytes", f.size())
		n.health.changed()
	}
	delete(n.link.notices.records, id)
	if id.form == formFull {
		delete(n.link.notices.records, noticeID{id.topic, formShort})
	}
	n.announcer.confirmed(id)
}

// blame records which notices may be the reason for the end of a session. It returns true
// if one of them was in flight alone: then nothing else can be the reason.
func (n *notices) blame(err error, leaving bool) (alone bool) {
	inflight := n.inFlight()
	if !n.linkFailed(err, leaving) {
		return false
	}
	closed := errors.Is(err, mqtt.ErrBrokerClosed) || errors.Is(err, syscall.ECONNRESET)
	if closed && !n.out.answered { // the first messages of the session may be the reason
		n.link.notices.suspectFirst = !n.link.notices.suspectFirst && len(inflight) == 0
	}
	for _, f := range inflight {
		switch {
		case !closed && (!n.out.answered || n.canary.isProof(f.notice.id)):
			// the link is silent, and a small message cannot be the reason
		case f.notice.id.form == formClears:
			n.clearFailed(f)
		case f.isolated:
			n.failed(f, err)
		default:
			n.link.notices.records.suspectOne(f.notice.id, f.size())
		}
	}
	return len(inflight) == 1 && inflight[0].isolated
}

// linkFailed reports whether a session ended because of the link or of what was sent, and
// not because we ended it or because of what we received.
func (n *notices) linkFailed(err error, leaving bool) bool {
	select {
	case <-n.out.conn.Done():
	default:
		if !errors.Is(err, errNoAcks) {
			return false
		}
	}
	var b *mqtt.ProtocolError
	if errors.As(err, &b) {
		n.tooLarge(b)
		return false
	}
	return !leaving
}

// tooLarge defers the subscription to a topic on which a message above our limit came.
func (n *notices) tooLarge(b *mqtt.ProtocolError) {
	id := noticeID{b.Topic, formSubscription}
	if !slices.ContainsFunc(n.all, func(src source) bool { return src.id() == id }) {
		return
	}
	n.link.notices.records.suspectOne(id, b.Bytes)
	n.link.notices.records.postpone(id, time.Now())
	n.link.log.Error("a message on a topic that we read is too large: it is not read for now", "topic", b.Topic,
		"bytes", b.Bytes,
		"max_bytes", mqtt.MaxInbound, "mend", "see who publishes there", "retry_in", minDeferral)
}

// inFlight returns the notices because of which the broker may have ended the session. If
// one was in flight alone, it returns only that one. The correction of a late will is not
// among them: a broker that shuts down publishes wills before it closes connections.
func (n *notices) inFlight() (inflight []*sentMessage) {
	for i := range n.unconfirmed {
		if f := &n.unconfirmed[i]; time.Since(f.sent) < closedAfter {
			inflight = append(inflight, f)
		}
	}
	for i := range n.out.inflight.len() {
		f := n.out.inflight.at(i)
		if f.isolated {
			return []*sentMessage{f}
		}
		if f.notice.Topic != "" && !f.notice.taken {
			inflight = append(inflight, f)
		}
	}
	return inflight
}

// failed records that a session ended while only this notice was in flight, and logs it if
// the notice is deferred.
func (n *notices) failed(f *sentMessage, err error) {
	id := f.notice.id
	again := n.link.notices.records.deferred(id)
	if !n.link.notices.records.failed(id, f.size(), n.out.answered, time.Now()) {
		return
	}
	if id.form == formFull { // the short form comes next and may fail, too
		n.link.notices.records.suspectOne(noticeID{id.topic, formShort}, 0)
	}
	log := n.link.log.With("topic", id.topic, "bytes", f.size(), "retry_in",
		time.Until(n.link.notices.records.retryAt(id)).Round(time.Minute))
	switch {
	case again:
		log.Debug("a message about ourselves still does not get through")
	case n.canary.isProof(id):
		log.Error("the broker closes the connection for the proof that we may publish: readings go without it",
			"mend", "allow this account to publish and read "+id.topic+", or set mqtt.prove_publish: false")
	default:
		log.Error("a message about ourselves does not get through, and readings go on without it",
			"subscription", id.form == formSubscription, "why", err,
			"mend", "three sessions ended while it was in flight: see the broker's access list, its limit of a "+
				"packet's size, and the path's MTU")
	}
}

// refused records that a broker of MQTT 5 has refused a notice because of its topic or its
// size. The notice is deferred, and its next form is sent if there is one.
func (n *notices) refused(f *sentMessage, why error) {
	id, records := f.notice.id, n.link.notices.records
	again := records.deferred(id)
	records.suspectOne(id, f.size())
	records.postpone(id, time.Now())
	if !again {
		n.link.log.Error("the broker does not take a message about ourselves, and readings go on without it", "topic",
			id.topic, "bytes", f.size(), "why", why, "retry_in", time.Until(records.retryAt(id)).Round(time.Minute))
	}
	for _, o := range []*once{&n.announcer.birth, &n.announcer.discovery, &n.health.once} {
		if id == o.forms[0].id {
			o.now()
		}
	}
}

// clearFailed records that a session ended while a clear was in flight. If the clear was
// not alone it is sent again, otherwise it is dropped. After more than clearEnds such
// sessions all clears are dropped.
func (n *notices) clearFailed(f *sentMessage) {
	id := f.notice.id
	if !f.isolated {
		n.link.notices.clears.all = append(n.link.notices.clears.all, f.notice)
		n.link.notices.records.suspectOne(id, f.size())
		return
	}
	dropped, r := 0, n.link.notices.records.of(id)
	if r.ends++; r.ends > clearEnds {
		dropped, n.link.notices.clears.all = len(n.link.notices.clears.all), nil
	}
	n.link.log.Warn("what an earlier start left with the broker cannot be cleared", "topic", f.notice.Topic,
		"others_not_tried", dropped)
}
