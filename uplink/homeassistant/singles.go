package homeassistant

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// A single announces one entity by itself, in the older form of Home Assistant's
// discovery: for brokers and links that do not carry an announcement of the whole
// device. With its topic it has less than 1,000 bytes, and less than 1,400 where the device
// and the stream have the longest names that there are, as tests hold.
type single struct {
	component
	Platform Platform    `json:"platform,omitempty"` // empty: hides that of component, as the topic has it
	Device   shortDevice `json:"device"`
	Origin   shortOrigin `json:"origin"`
}

// A shortDevice is a device with only the keys that are required: it is repeated in
// each single.
type shortDevice struct {
	Identifiers []string `json:"identifiers"`
	Name        string   `json:"name"`
}

// A shortOrigin is an origin with only the key that is required.
type shortOrigin struct {
	Name string `json:"name"`
}

// singleTopic is the topic on which an entity is announced by itself. Home
// Assistant takes only letters, digits, "_" and "-" in an object ID, and the names
// of the diagnostics have a dot.
func singleTopic(prefix string, p Platform, clientID, name string) string {
	return prefix + "/" + string(p) + "/" + clientID + "/" + strings.ReplaceAll(name, ".", "--") + "/config"
}

// Entities announces each entity by itself, in the order of their names, so that
// two calls have the same result.
func (d Device) Entities() (all []Config) {
	a := d.announcement()
	for _, name := range slices.Sorted(maps.Keys(a.Components)) {
		c := a.Components[name]
		if len(c.Availability) == 0 {
			c.Availability = a.Availability
		}
		text, err := json.Marshal(single{component: c, Device: shortDevice{a.Device.Identifiers, a.Device.Name},
			Origin: shortOrigin{a.Origin.Name}})
		if err != nil {
			panic("homeassistant: entity: " + err.Error()) // strings always marshal
		}
		all = append(all, Config{Topic: singleTopic(d.Prefix, c.Platform, d.ClientID, name), Payload: text})
	}
	return all
}

// EntitiesGone returns the topics of entities that were announced by themselves
// under a prefix and are not any more; an empty retained message on each removes
// the entity. If announced is false, the device is not announced there at all now,
// and all topics are returned: those of the streams in was and of the diagnostics.
// was has the platform of each stream as it was announced before; platforms that
// holdfast does not use are ignored.
func (d Device) EntitiesGone(prefix string, was map[string]Platform, announced bool) (topics []string) {
	stay := map[string]component{} // what is still announced
	if announced {
		stay = d.announcement().Components
	}
	all := map[string]Platform{}
	for name, p := range was {
		if isStreamPlatform(p) {
			all[name] = p
		}
	}
	maps.Copy(all, extrasGone(was, stay))
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
