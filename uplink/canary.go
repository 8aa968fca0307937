package uplink

import (
	"errors"
	"fmt"
	"time"
)

// sing is how long a session whose backlog is held waits before it tries to
// prove again that it may publish.
const canaryRetry = time.Minute

// A canary proves that we may publish. MQTT 3.1.1 has no word for "you may
// not": a broker acknowledges what its access list denies, and drops it. So a
// session publishes something that it must hear itself, before it believes any
// acknowledgement.
type canary struct {
	token  string
	proven bool
	held   string    // why the backlog is held
	next   time.Time // when to draw conclusions, or to try again
}

// listen subscribes to what others may say in our name, to the canary, and to
// what Home Assistant says of itself.
func (s *session) listen() {
	if s.opt.NoProof {
		return
	}
	s.readCanary.now()
	s.readStatus.now()
	s.readInfo.now()
	if s.opt.HomeAssistant.Discovery {
		s.readHome.now()
	}
}

// prove makes the canary due.
func (s *session) prove() {
	if s.opt.NoProof {
		return
	}
	s.canariesSent++
	s.token = fmt.Sprintf(`{"boot":%q,"n":%d}`, s.opt.Boot, s.canariesSent)
	s.sendCanary.now()
	s.canary.next = time.Time{}
}

// canaryNotice makes the canary. It is to be heard in some time from when it goes.
func (s *session) canaryNotice() notice {
	s.canary.next = time.Now().Add(s.opt.bounds().proof)
	return notice{Message: Message{Topic: s.topics.agent("canary"), Payload: []byte(s.token)}}
}

// trusted says that an acknowledgement means that the broker has it.
func (s *session) acksProven() bool { return s.proven || s.opt.NoProof || s.unprovable() }

// entrusted says that routine readings may go. If we were allowed to publish a
// moment ago, one window of them does not wait for the proof.
func (s *session) routineAllowed() bool {
	return s.acksProven() || s.provenBefore && s.held == "" && s.released.len()+s.out.window.messages < s.out.window.most
}

// sang hears the canary.
func (s *session) canaryHeard(m Message) {
	if string(m.Payload) != s.token || s.proven {
		return
	}
	s.proven, s.canary.next = true, time.Time{}
	s.announce()
	if s.held == "" {
		s.heldLogged = ""
		return
	}
	s.log.Info("uplink may publish: the backlog goes out")
	s.held, s.heldLogged = "", ""
	s.healthChanged()
	s.again()
}

// again sends what was sent in this session again: it was denied. What is kept of
// a stream comes before its new readings, so it is sent again too.
func (s *session) again() {
	s.cursor.Rewind()
	s.rejects.rewind()
	for i := range s.out.inflight.len() {
		if f := s.out.inflight.at(i); f.kind == kindHistory {
			f.kind = kindOther
		}
	}
}

// subscribed takes the answer to a subscription.
func (s *session) subscribed(f *sentMessage) error {
	var denied *DeniedError
	err := f.Error()
	if err != nil && !errors.As(err, &denied) {
		return s.lost(err)
	}
	s.out.answered = true
	s.noticeArrived(f)
	switch {
	case err == nil:
		return nil
	case denied.Topic == s.topics.agent("canary"):
		s.hold(denied.Error())
	case s.unreadable[denied.Topic]: // the log was told
	case denied.Topic == s.opt.homeStatusTopic():
		s.log.Warn("when Home Assistant restarts it is not told again", "err", err)
	default:
		s.log.Warn("take-overs and late wills go unnoticed", "err", err)
	}
	s.unreadable[denied.Topic] = true
	return nil
}

// doubt draws conclusions from silence, or tries again.
func (s *session) doubt() {
	if s.held == "" && s.out.firstAck.IsZero() { // from a broker that acknowledges nothing, silence says nothing
		s.canary.next = time.Now().Add(s.opt.bounds().proof)
		return
	}
	if s.held == "" {
		s.hold(fmt.Sprintf("nothing heard of it in %v", s.opt.bounds().proof))
		return
	}
	s.readCanary.now()
	s.prove()
}

// hold keeps the backlog for this session. Alarms are sent all the same, and
// kept.
func (s *session) hold(why string) {
	s.canary.next = time.Now().Add(canaryRetry)
	if s.held != "" || s.proven {
		return
	}
	s.held = why
	s.declareDoubted()
	s.healthChanged()
	s.announce()
	if s.heldLogged == why {
		return
	}
	s.heldLogged = why
	topic := s.topics.agent("canary")
	s.log.Error("the backlog is held: there is no proof that we may publish", "topic", topic, "why", why, "mend",
		"either the broker's access list denies publishing to "+s.topics.clientID+"/#, or this account may write and not read: "+
			"allow it to read "+topic+", or set mqtt.prove_publish: false")
}
