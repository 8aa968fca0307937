package uplink

import "time"

// A notice is what the agent says of itself, or a subscription. Readings and
// alarms are what it is for: a notice is best effort.
type notice struct {
	Message      // of a subscription the topic alone counts
	kind    kind // of the flight
}

// A source makes notices of one kind, one at a time.
type source interface {
	// due is when the next notice is to go; zero: there is none.
	due() time.Time
	// take returns the notice that is due, which is then not due any more.
	take() notice
}

// asap is when something is due that only waits for room in the window.
var asap = time.Unix(1, 0)

// sources are what the agent says of itself in a session, in the order in which
// it goes. The first ones are what routine readings wait for: they need little
// room, and take that of an alarm.
func (s *session) sources() (urgent, others []source) {
	return []source{&s.subscriptions, &s.late, canaryNotice{s}},
		[]source{&s.clears, &s.birth, &s.discovery, &s.health}
}

// sendNotice sends a notice of these sources, if one is due.
func (s *session) sendNotice(sources []source) bool {
	now := time.Now()
	for _, src := range sources {
		if at := src.due(); at.IsZero() || now.Before(at) {
			continue
		}
		s.sendOwn(src.take())
		return true
	}
	return false
}

func (s *session) sendOwn(n notice) {
	if n.kind != kindSubscription {
		s.publish(n.Message, flight{kind: n.kind})
		return
	}
	f := flight{kind: kindSubscription, passage: s.window.send(len(n.Topic) + overhead)}
	f.Token = s.conn.Subscribe(n.Topic)
	s.launch(f)
}

// A once is a notice that is made when it goes.
type once struct {
	at   time.Time // when it is due
	make func() notice
}

func (o *once) due() time.Time { return o.at }

func (o *once) take() notice {
	o.at = time.Time{}
	return o.make()
}

// now makes it due.
func (o *once) now() { o.at = asap }

// A noticeList holds notices that go one behind the other.
type noticeList []notice

func (l *noticeList) due() time.Time {
	if len(*l) == 0 {
		return time.Time{}
	}
	return asap
}

func (l *noticeList) take() notice {
	n := (*l)[0]
	*l = (*l)[1:]
	return n
}
