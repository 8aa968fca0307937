package uplink

import (
	"strconv"
	"time"

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
