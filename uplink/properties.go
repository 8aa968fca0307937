package uplink

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// What is retained has an expiry with MQTT 5, so that a broker that was away does not hand
// out what was true long ago. What is true still is published again before that. Readings
// have none, nor has what says whether the agent is online.
const (
	stateExpiry   = 2 * time.Hour
	reassertEvery = time.Hour   // a state is published again, whatever became of its stream
	healthsKept   = 3           // health expires after so many that did not come
	answerExpiry  = time.Minute // of the answer to an order: who asked may have gone
)

// expiring are properties with an expiry alone.
func expiring(after time.Duration) *mqtt.Properties {
	return &mqtt.Properties{Expiry: uint32(after / time.Second)}
}

// stateProperties are those of every state.
var stateProperties = expiring(stateExpiry)

// propertiesOf are those of a reading, where mqtt.properties is set: what the payload says,
// for consumers that route by properties, or whose payload is plain.
func (o *Options) propertiesOf(it *queue.Item, historical bool) *mqtt.Properties {
	if !o.Properties {
		return nil
	}
	p := &mqtt.Properties{User: []mqtt.UserProperty{{Name: "boot", Value: it.Boot},
		{Name: "seq", Value: strconv.FormatUint(it.Seq, 10)}}}
	if historical {
		p.User = append(p.User, mqtt.UserProperty{Name: "historical", Value: "true"})
	}
	return p
}

// maxResponseTopic bounds the topic and the correlation data of a request, in bytes.
const maxResponseTopic = 256

// responseTo returns the properties of the answer to a request, and where it goes; "" if
// it wants none. Whoever may give orders must not be able to write in our name: a topic
// of ours is refused, as is one of the broker's.
func responseTo(clientID string, request *mqtt.Properties) (topic string, p *mqtt.Properties) {
	if request == nil {
		return "", nil
	}
	topic = request.ResponseTopic
	if topic == "" || len(topic) > maxResponseTopic || len(request.Correlation) > maxResponseTopic ||
		strings.ContainsAny(topic, "+#\x00") || !utf8.ValidString(topic) ||
		strings.HasPrefix(topic, clientID+"/") || strings.HasPrefix(topic, "$") {
		return "", nil
	}
	return topic, &mqtt.Properties{Expiry: uint32(answerExpiry / time.Second), Correlation: request.Correlation}
}
