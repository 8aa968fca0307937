package uplink

import (
	"strconv"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// With MQTT 5 retained messages expire, so that a broker that was down does not deliver
// outdated ones. States that are still valid are published again before they expire. Readings
// and agent/status do not expire.
const (
	stateExpiry   = 2 * time.Hour
	reassertEvery = time.Hour   // all states are published again, changed or not
	healthsKept   = 3           // health expires after so many intervals
	answerExpiry  = time.Minute // of the answer to an order: the sender may be gone by then
)

// expiring returns properties with only an expiry.
func expiring(after time.Duration) *mqtt.Properties {
	return &mqtt.Properties{Expiry: uint32(after / time.Second)}
}

// stateProperties are the properties of every state.
var stateProperties = expiring(stateExpiry)

// propertiesOf returns the properties of a reading if mqtt.properties is set: the content of
// the payload, for consumers that route by properties or use plain payloads.
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
