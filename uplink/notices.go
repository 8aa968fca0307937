package uplink

import (
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A notice is what the agent says of itself, or a subscription. Readings and
// alarms are what it is for: a notice is best effort.
type notice struct {
	mqtt.Message      // of a subscription the topic alone counts
	kind         kind // of the flight
	live         bool // of a subscription: what is retained is not wanted, nor what we publish
	taken        bool // the broker has taken the same in this session: it closes no connection for it
	id           noticeID
}

// A noticeID names a notice, whatever it says.
type noticeID struct {
	topic string // of a group: the first of its notices, or none
	form  form
}

// A form is how a notice is made.
type form uint8

const (
	formFull         form = iota
	formShort             // without what makes it large, or in parts: a group then
	formSubscription      // it has only a topic
	formClears            // what takes away what an earlier start left: a group
)

// A source makes notices, one at a time.
type source interface {
	// due is when the next notice is to go; zero: there is none.
	due() time.Time
	// id names the next notice.
	id() noticeID
	// take returns the next notice, which is then not due any more.
	take() notice
}

// asap is when something is due that only waits for room in the window.
var asap = time.Unix(1, 0)

// A once is the source of one notice, which may have several forms: the first
// is the one that is wanted, and the next is taken while the one before does
// not get through.
type once struct {
	at      time.Time // when it is due; zero: it is not
	after   *once     // goes before it; may be nil
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

// now makes it due.
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

// choose returns the first form that may go now; if none may, the one that may
// first, and when.
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

// take makes the notice. If it is not in the form that is wanted, that is due
// when it may be tried again.
func (o *once) take() notice {
	f, _ := o.choose()
	o.at = time.Time{}
	n := f.make()
	n.id = f.id
	if wanted := o.forms[0].id; f.id != wanted && o.at.IsZero() {
		o.at = o.records.retryAt(wanted)
	}
	return n
}

// A noticeList holds notices that go one behind the other, as one group.
type noticeList struct {
	all   []notice
	group noticeID
	wait  func() bool // says that none may go now; may be nil
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
