package uplink

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// maxResponseTopic limits the topic and the correlation data of a request, in bytes.
const maxResponseTopic = 256

// A response is the answer to an order, for the topic that the request has named.
type response struct {
	mqtt.Message
	at time.Time // when the order was answered
}

// responses are the answers to orders that wait for room in the window of the session.
// They are best effort: each is an event as well.
type responses struct {
	waiting chan response // has room for maxAnswers, and further ones are dropped; any goroutine may send to it
	next    *response     // was received from waiting, and is not sent yet; only for the goroutine of the session
}

// put queues an answer, or drops it if too many wait.
func (r *responses) put(m mqtt.Message) {
	select {
	case r.waiting <- response{m, time.Now()}:
	default:
	}
}

// arrived returns the channel on which the session waits for answers: nil while one waits for
// room in the window.
func (r *responses) arrived() <-chan response {
	if r.next != nil {
		return nil
	}
	return r.waiting
}

// peek returns the oldest answer that is not too old, or nil.
func (r *responses) peek(now time.Time) *response {
	for {
		if r.next == nil {
			select {
			case next := <-r.waiting:
				r.next = &next
			default:
				return nil
			}
		}
		if now.Sub(r.next.at) < answerExpiry {
			return r.next
		}
		r.next = nil
	}
}

// sendResponse sends an answer, if the window has room: the broker's Receive Maximum is for
// all messages. A connection by MQTT 3.1.1 could not carry the correlation data.
func (s *session) sendResponse() step {
	r := &s.link.orders.responses
	next := r.peek(time.Now())
	switch {
	case next == nil || s.out.hasReasonCodes && !s.out.window.openToAlarm():
		return stepNone
	case s.out.hasReasonCodes:
		s.out.publish(next.Message, &sentMessage{})
	}
	r.next = nil
	return stepSent
}

// responseTo returns the topic and the properties of the answer to a request; the topic is ""
// if no answer is requested. It refuses topics of ours and of the broker, so that a client
// that may only give orders cannot publish in our name.
func (o *orders) responseTo(request *mqtt.Properties) (topic string, p *mqtt.Properties) {
	if request == nil {
		return "", nil
	}
	topic = request.ResponseTopic
	if topic == "" || len(topic) > maxResponseTopic || len(request.Correlation) > maxResponseTopic ||
		strings.ContainsAny(topic, "+#\x00") || !utf8.ValidString(topic) ||
		strings.HasPrefix(topic, "$") || o.isOurs(topic) {
		return "", nil
	}
	return topic, &mqtt.Properties{Expiry: uint32(answerExpiry / time.Second), Correlation: request.Correlation}
}

// isOurs reports whether we publish to a topic or accept orders there, by the configured
// topics.
func (o *orders) isOurs(topic string) bool {
	opt := &o.link.opt
	if strings.HasPrefix(topic, opt.ClientID+"/") ||
		opt.HomeAssistant.Discovery && strings.HasPrefix(topic, opt.HomeAssistant.Prefix+"/") {
		return true
	}
	for _, st := range opt.Streams {
		if topic == o.link.topics.Reading(st.Name) || topic == o.link.topics.State(st.Name) {
			return true
		}
	}
	return false
}
