package homeassistant

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A single announces one entity by itself, in the older form of Home Assistant's
// discovery: for brokers and links that do not carry an announcement of all.
type single struct {
	component
	Platform Platform    `json:"platform,omitempty"` // it is in the topic
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
func singleTopic(prefix string, p Platform, clientID, name string) string {
	return prefix + "/" + string(p) + "/" + clientID + "/" + strings.ReplaceAll(name, ".", "--") + "/config"
}

// Entities announces each entity by itself.
func (d Device) Entities() (all []Config) {
	a := d.announcement()
	for _, name := range slices.Sorted(maps.Keys(a.Components)) {
		c := a.Components[name]
		if len(c.Availability) == 0 {
			c.Availability = a.Availability
		}
		text, err := json.Marshal(single{component: c, Device: shortDevice{a.Device.Identifiers, a.Device.Name},
			Origin: shortOrigin{a.Origin.Name}, QoS: a.QoS})
		if err != nil {
			panic("homeassistant: entity: " + err.Error()) // strings always marshal
		}
		all = append(all, Config{Topic: singleTopic(d.Prefix, c.Platform, d.ClientID, name), Payload: text})
	}
	return all
}

// EntitiesGone are the topics of entities that were announced by themselves under a
// prefix, and that are no longer: all of them unless announced says that the device
// is still announced there. was has the platform of each stream as it was.
func (d Device) EntitiesGone(prefix string, was map[string]Platform, announced bool) (topics []string) {
	stay := map[string]component{}
	if announced {
		stay = d.announcement().Components
	}
	all := map[string]Platform{}
	for name, p := range was {
		if p == platformSensor || p == platformBinary {
			all[name] = p
		}
	}
	for name, c := range d.diagnostics() {
		all[name] = c.Platform
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if p := all[name]; stay[name].Platform != p {
			topics = append(topics, singleTopic(prefix, p, d.ClientID, name))
		}
	}
	return topics
}
