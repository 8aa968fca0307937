package uplink

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A single announces one entity by itself, in the older form of Home Assistant's
// discovery: for brokers and links that do not carry an announcement of all.
type single struct {
	component
	Platform platform    `json:"platform,omitempty"` // it is in the topic
	Device   shortDevice `json:"device"`
	Origin   shortOrigin `json:"origin"`
	QoS      int         `json:"qos"`
}

type shortDevice struct {
	Identifiers []string `json:"identifiers"`
	Name        string   `json:"name"`
}

type shortOrigin struct {
	Name string `json:"name"`
}

// singleTopic is where an entity is announced by itself. The diagnostics have a
// dot in their names, which a topic of Home Assistant's must not have.
func singleTopic(prefix string, p platform, clientID, name string) string {
	return prefix + "/" + string(p) + "/" + clientID + "/" + strings.ReplaceAll(name, ".", "--") + "/config"
}

// singles are the retained messages that announce each entity by itself.
func (o Options) singles() (msgs []mqtt.Message) {
	a := o.announcement()
	for _, name := range slices.Sorted(maps.Keys(a.Components)) {
		c := a.Components[name]
		if len(c.Availability) == 0 {
			c.Availability = a.Availability
		}
		payload, err := json.Marshal(single{component: c, Device: shortDevice{a.Device.Identifiers, a.Device.Name},
			Origin: shortOrigin{a.Origin.Name}, QoS: a.QoS})
		if err != nil {
			panic("uplink: discovery: " + err.Error()) // strings always marshal
		}
		topic := singleTopic(o.HomeAssistant.Prefix, c.Platform, o.ClientID, name)
		msgs = append(msgs, mqtt.Message{Topic: topic, Payload: payload, Retain: true})
	}
	return msgs
}

// forgetSingles clears the singles of entities that are no longer announced, or
// no longer there.
func (was birth) forgetSingles(now Options) (msgs []mqtt.Message) {
	stay := map[string]component{}
	if ha := now.HomeAssistant; ha.Discovery && ha.Prefix == was.Discovery {
		stay = now.announcement().Components
	}
	platforms := map[string]platform{}
	for name, s := range was.Streams {
		if s.Platform == platformSensor || s.Platform == platformBinary {
			platforms[name] = s.Platform
		}
	}
	for name, c := range diagnostics(now.topicNames()) {
		platforms[name] = c.Platform
	}
	for _, name := range slices.Sorted(maps.Keys(platforms)) {
		if p := platforms[name]; stay[name].Platform != p {
			msgs = append(msgs, mqtt.Message{Topic: singleTopic(was.Discovery, p, now.ClientID, name), Retain: true})
		}
	}
	return msgs
}
