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
	// sessions in a row that ended while a notice was in flight, the last two while it was alone
	deferAfter  = 3
	minDeferral = time.Hour // after it was deferred; doubles each time it fails again
	maxDeferral = 24 * time.Hour
	clearEnds   = 3 // sessions that end with clears: then the others are dropped
)

// noticeRecords are about the notices that were in flight when sessions ended. In
// MQTT 3.1.1 a broker that refuses a message closes the connection, and a link may
// lose large packets: a notice that is sent again in each session would end them all,
// and nothing else would arrive.
//
// A notice that was in flight when a session ended is a suspect: it goes after
// everything else and alone, so that the next end tells which one it is. After
// the third end it is deferred: another form of it goes, if there is one, and it
// is tried again rarely. What the broker acknowledges is no suspect any more.
type noticeRecords map[noticeID]*noticeRecord

type noticeRecord struct {
	ends  int       // sessions in a row that ended with it
	bytes int       // its size
	retry time.Time // not before it; zero until it is deferred
	wait  time.Duration
}

func (all noticeRecords) ends(id noticeID) int {
	if r := all[id]; r != nil {
		return r.ends
	}
	return 0
}

func (all noticeRecords) known(id noticeID) bool { return all[id] != nil }

// of is the record of a notice: it may have been in flight alone without one,
// since it was never acknowledged.
func (all noticeRecords) of(id noticeID) *noticeRecord {
	if all[id] == nil {
		all[id] = &noticeRecord{}
	}
	return all[id]
}

// suspect says that a notice is to go alone. While one is known to be a suspect,
// each is that was never acknowledged: what the broker closes the connection for
// once is seldom the only thing.
func (n *notices) suspect(id noticeID) bool {
	return len(n.link.notices.records) > 0 && (n.link.notices.records.known(id) || !n.link.notices.acked[id])
}

// retryAt is when a notice may go that is deferred; zero if it is not.
func (all noticeRecords) retryAt(id noticeID) time.Time {
	if r := all[id]; r != nil {
		return r.retry
	}
	return time.Time{}
}

// deferred says that a notice did not get through, and was not acknowledged since.
func (all noticeRecords) deferred(id noticeID) bool { return !all.retryAt(id).IsZero() }

// suspectOne takes note that a session ended while a notice was in flight, and
// others were.
func (all noticeRecords) suspectOne(id noticeID, bytes int) {
	if all[id] == nil {
		all[id] = &noticeRecord{ends: 1}
	}
	all[id].bytes = bytes
}

// failed takes note that a session ended while a notice was in flight alone, and
// reports whether it is deferred. In a session in which nothing was answered the
// notice is the last to be blamed: it may be the broker that takes nothing.
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

// postpone puts the next try off.
func (all noticeRecords) postpone(id noticeID, now time.Time) {
	r := all[id]
	r.ends = max(r.ends, deferAfter)
	r.wait = min(max(2*r.wait, minDeferral), maxDeferral)
	r.retry = now.Add(r.wait)
}

// A deferredNotice is one that does not get through.
type deferredNotice struct {
	Topic string `json:"topic"`
	Bytes int    `json:"bytes"`
}

// deferredNotices are those that do not get through, by topic.
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

// answered takes note that a notice was acknowledged.
func (n *notices) answered(f *sentMessage) {
	if len(n.unconfirmed) > 0 { // they went before it
		for i := range n.unconfirmed {
			n.confirm(&n.unconfirmed[i])
		}
		n.unconfirmed = n.unconfirmed[:0]
	}
	switch id := f.notice.id; {
	case f.notice.Topic == "", id == n.announcer.entities.group && len(n.announcer.entities.all) > 0,
		id.form == formClears && len(n.link.notices.clears.all) > 0:
		return // none, or of the group there is more to come
	}
	n.confirm(f)
}

// size is that of topic and payload.
func (f *sentMessage) size() int { return len(f.notice.Topic) + len(f.notice.Payload) }

// sameNotice says that another flight is of the same notice, whatever it says.
func (f *sentMessage) sameNotice(other sentMessage) bool { return f.notice.id == other.notice.id }

func (n *notices) confirm(f *sentMessage) {
	id := f.notice.id
	n.link.notices.acked[id] = true
	if n.link.notices.records.deferred(id) {
		n.link.log.Info("what did not get through does so again", "topic", id.topic, "bytes", f.size())
		n.health.changed()
	}
	delete(n.link.notices.records, id)
	if id.form == formFull {
		delete(n.link.notices.records, noticeID{id.topic, formShort})
	}
	n.announcer.confirmed(id)
}

// blame looks for notices to blame for the end of a session. It reports
// whether one was in flight alone: nothing else is to blame then.
func (n *notices) blame(err error, leaving bool) (alone bool) {
	flying := n.inFlight()
	if !n.linkFailed(err, leaving) {
		return false
	}
	closed := errors.Is(err, mqtt.ErrBrokerClosed) || errors.Is(err, syscall.ECONNRESET)
	if closed && !n.out.answered { // what it began with may be what the broker closes for
		n.link.notices.suspectFirst = !n.link.notices.suspectFirst && len(flying) == 0
	}
	for _, f := range flying {
		switch {
		case !closed && (!n.out.answered || n.canary.isProof(f.notice.id)):
			// the link fell silent: it says nothing about small messages
		case f.notice.id.form == formClears:
			n.clearFailed(f)
		case f.isolated:
			n.failed(f, err)
		default:
			n.link.notices.records.suspectOne(f.notice.id, f.size())
		}
	}
	return len(flying) == 1 && flying[0].isolated
}

// linkFailed says that a session ended because of what was sent, or of the link.
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

// tooLarge defers the subscription to the topic of a message that we do not take.
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

// inFlight are the notices that the broker may have ended the session for. A correction of
// a late will is none: a broker that stops publishes the wills before it closes. If one was
// in flight alone, it is that one.
func (n *notices) inFlight() (flying []*sentMessage) {
	for i := range n.unconfirmed {
		if f := &n.unconfirmed[i]; time.Since(f.sent) < closedAfter {
			flying = append(flying, f)
		}
	}
	for i := range n.out.inflight.len() {
		f := n.out.inflight.at(i)
		if f.isolated {
			return []*sentMessage{f}
		}
		if f.notice.Topic != "" && !f.notice.taken {
			flying = append(flying, f)
		}
	}
	return flying
}

// failed draws the conclusion when a session ended with a notice alone.
func (n *notices) failed(f *sentMessage, err error) {
	id := f.notice.id
	again := n.link.notices.records.deferred(id)
	if !n.link.notices.records.failed(id, f.size(), n.out.answered, time.Now()) {
		return
	}
	if id.form == formFull { // the short one comes next: it may be no better
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

// refused takes note that a notice is not taken whenever it is sent, with MQTT 5: its topic or
// its size is at fault. The next form of it goes, if there is one.
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

// clearFailed drops a clear that a session ended with while it was alone; if it
// was not, it goes once more. If more sessions end, all are dropped.
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
