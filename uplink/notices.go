package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A notice is a message about the agent itself, or a subscription. It is best effort:
// readings and alarms are more important.
type notice struct {
	mqtt.Message      // of a subscription only the topic is used
	kind         kind // of its sentMessage
	live         bool // of a subscription: without retained messages and without our own
	taken        bool // the broker has accepted the same message in this session, so it cannot be a suspect
	id           noticeID
}

// A noticeID identifies a notice, independent of its payload.
type noticeID struct {
	topic string // of a group: the topic of its first notice, or empty
	form  form
}

// A form is one of the variants of a notice.
type form uint8

const (
	formFull         form = iota
	formShort             // without long lists; or in parts, which are a group
	formSubscription      // a subscription
	formClears            // a group of messages that clear what an earlier start has retained
)

// A source makes notices, one at a time.
type source interface {
	// due returns when to send the next notice; zero: there is none.
	due() time.Time
	// id identifies the next notice.
	id() noticeID
	// take returns the next notice, which is then not due any more.
	take() notice
}

// asap is the due time of something that only waits for room in the window.
var asap = time.Unix(1, 0)

// A once is the source of one notice, which may have several forms in order of preference.
// While a form is deferred the next one is used.
type once struct {
	at      time.Time // when it is due; zero: it is not due
	after   *once     // is sent before this one; may be nil
	forms   []noticeForm
	records noticeRecords
}

type noticeForm struct {
	id   noticeID
	make func() notice
}

func newOnce(records noticeRecords, forms ...noticeForm) once {
	return once{forms: forms, records: records}
}

// now makes the notice due.
func (o *once) now() { o.at = asap }

func (o *once) due() time.Time {
	if o.at.IsZero() || o.after != nil && !o.after.at.IsZero() {
		return time.Time{}
	}
	_, at := o.choose()
	if at.After(o.at) {
		return at
	}
	return o.at
}

// choose returns the first form that may be sent now and a zero time. If there is none it
// returns the form that may be sent next, and when.
func (o *once) choose() (f *noticeForm, at time.Time) {
	now := time.Now()
	for i := range o.forms {
		retry := o.records.retryAt(o.forms[i].id)
		if !retry.After(now) {
			return &o.forms[i], time.Time{}
		}
		if f == nil || retry.Before(at) {
			f, at = &o.forms[i], retry
		}
	}
	return f, at
}

func (o *once) id() noticeID {
	f, _ := o.choose()
	return f.id
}

// take makes the notice. If it does not have the preferred form, the notice becomes due
// again when that form may be retried.
func (o *once) take() notice {
	f, _ := o.choose()
	o.at = time.Time{}
	n := f.make()
	n.id = f.id
	if preferred := o.forms[0].id; f.id != preferred && o.at.IsZero() {
		o.at = o.records.retryAt(preferred)
	}
	return n
}

// A noticeList is a group of notices that are sent one after the other.
type noticeList struct {
	all   []notice
	group noticeID
	wait  func() bool // reports that none may be sent now; may be nil
}

func (l *noticeList) due() time.Time {
	if len(l.all) == 0 || l.wait != nil && l.wait() {
		return time.Time{}
	}
	return asap
}

func (l *noticeList) id() noticeID { return l.group }

func (l *noticeList) take() notice {
	n := l.all[0]
	l.all = l.all[1:]
	n.id = l.group
	return n
}
