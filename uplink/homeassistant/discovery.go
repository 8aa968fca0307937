// Package homeassistant makes the messages that announce an agent and its streams to Home
// Assistant by its MQTT discovery: as one device with all its entities or, if a broker or a
// link does not pass a message of that size, entity by entity. Package uplink publishes them.
//
// The messages follow https://www.home-assistant.io/integrations/mqtt/, of Home
// Assistant 2026.9: device discovery needs 2024.11 or later.
//
// # Concurrency
//
// Everything is a value or a constant table. All functions and methods may be called from
// any goroutine, as long as the slices and maps of a [Device] do not change.
package homeassistant

import (
	"cmp"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// MaxDiscovery is how many bytes the payload of an announcement may have: many
// brokers close the connection for a payload of 1 MiB, and the payload of
// [Device.DiscoveryWithout], which also removes entities, is larger than that of
// [Device.Discovery]. Package config refuses a configuration that exceeds it.
const MaxDiscovery = 900 << 10

// supportURL is what Home Assistant shows as the link of the device's origin.
const supportURL = "https://github.com/holdfast-iot/holdfast"

// A Platform is the Home Assistant integration that implements an entity. It is a
// part of the topic in the older form of discovery.
type Platform string

const (
	platformSensor Platform = "sensor"
	platformBinary Platform = "binary_sensor"
	platformEvent  Platform = "event"

	// platformEnum is never published: it stands for a sensor whose device class is
	// enum, which has a list of states instead of a unit.
	platformEnum Platform = "sensor with options"
)

// platformOf returns the platform by the number of states: a stream without states has
// numbers, one with two states is binary.
func platformOf(s sensors.Stream) Platform {
	switch len(s.States) {
	case 0:
		return platformSensor
	case 2:
		return platformBinary
	}
	return platformEnum
}

// A Device is what is announced: an agent, its board and its streams.
type Device struct {
	ClientID  string // also the identifier of the device, and the prefix of every unique_id
	Name      string // the displayed name; empty: the client ID
	Area      string // where it is; empty: the area of its streams, if all have the same
	Prefix    string // of Home Assistant's own topics, usually "homeassistant"
	Version   string // of the agent
	Hardware  string // the board's own name; empty: unknown
	Serial    string // the board's serial number; empty: unknown
	Topics    payload.Topics
	Formats   payload.Formats
	Streams   []sensors.Stream
	Heartbeat time.Duration // between two messages on agent/health; 0: the diagnostics never expire

	Outputs map[string]Output // by stream, which has two states
	Alarm   *Alarm            // of the stream AlarmStream; nil: there is no alarm panel
}

// AlarmStream is the name of the stream with the state of the alarm panel.
const AlarmStream = "alarm"

// A Config is a message that has to be published with the retain flag, so that Home
// Assistant gets it whenever it starts. An empty payload removes what was announced on the
// topic.
type Config struct {
	Topic   string
	Payload []byte
}

// An announcement is a device with all its entities, in the format of Home Assistant's
// device discovery.
type announcement struct {
	Device       device               `json:"device"`
	Origin       origin               `json:"origin"`
	Availability []available          `json:"availability"` // of entities without their own
	Components   map[string]component `json:"components"`
}

// A device describes the board. Entities with the same identifiers belong to one device.
type device struct {
	Identifiers  []string `json:"identifiers"`
	Name         string   `json:"name"`
	Manufacturer string   `json:"manufacturer,omitempty"`
	Model        string   `json:"model,omitempty"`
	SerialNumber string   `json:"serial_number,omitempty"`
	SWVersion    string   `json:"sw_version,omitempty"`

	// SuggestedArea is the area in which Home Assistant puts a new device with all its
	// entities. A person may move each entity.
	SuggestedArea string `json:"suggested_area,omitempty"`
}

// An origin says which program has sent the announcement. Device discovery
// requires it.
type origin struct {
	Name       string `json:"name"`
	SWVersion  string `json:"sw_version,omitempty"`
	SupportURL string `json:"support_url"`
}

// An available is a topic whose payloads are "online" or "offline", if necessary after the
// template has converted them.
type available struct {
	Topic         string `json:"topic"`
	ValueTemplate string `json:"value_template,omitempty"`
}

// A component is one entity. A component with a platform and nothing else removes
// the entity. It has more fields than other types here: they are the keys of Home
// Assistant's own format, which is flat, for all platforms.
type component struct {
	Platform          Platform    `json:"platform"`
	Name              string      `json:"name,omitempty"`
	UniqueID          string      `json:"unique_id,omitempty"`
	DefaultEntityID   string      `json:"default_entity_id,omitempty"`
	EntityCategory    string      `json:"entity_category,omitempty"`
	DeviceClass       string      `json:"device_class,omitempty"`
	StateClass        string      `json:"state_class,omitempty"`
	Unit              string      `json:"unit_of_measurement,omitempty"`
	Precision         *int        `json:"suggested_display_precision,omitempty"` // decimal places
	Options           []string    `json:"options,omitempty"`
	EventTypes        []string    `json:"event_types,omitempty"`
	StateTopic        string      `json:"state_topic,omitempty"`
	QoS               int         `json:"qos,omitempty"` // of what it subscribes to and sends
	ValueTemplate     string      `json:"value_template,omitempty"`
	PayloadOn         string      `json:"payload_on,omitempty"`
	PayloadOff        string      `json:"payload_off,omitempty"`
	ExpireAfter       int         `json:"expire_after,omitempty"` // seconds
	Availability      []available `json:"availability,omitempty"`
	AvailabilityMode  string      `json:"availability_mode,omitempty"`
	AttributesTopic   string      `json:"json_attributes_topic,omitempty"`
	AttributeTemplate string      `json:"json_attributes_template,omitempty"`

	orders
}

// Discovery announces the device with all its entities. An entity that was
// announced before and is not among them stays in Home Assistant, see
// [Device.DiscoveryWithout].
func (d Device) Discovery() Config { return d.announce(d.announcement()) }

// DiscoveryWithout announces the device, and removes the entities of streams that
// it does not have any more, or that have another platform now. was has the
// platform of each stream as it was announced before. It reports false if there is
// nothing to remove; the Config is empty then.
//
// Platforms in was that holdfast does not use are ignored: was comes from a
// retained message, which another program may have written.
func (d Device) DiscoveryWithout(was map[string]Platform) (c Config, removes bool) {
	a := d.announcement()
	extras := extrasGone(was, a.Components)
	for name, p := range was {
		if !isStreamPlatform(p) || a.Components[name].Platform == p {
			continue
		}
		a.Components[name], removes = component{Platform: p}, true
	}
	for name, p := range extras {
		a.Components[name] = component{Platform: p}
	}
	if !removes {
		return Config{}, false
	}
	return d.announce(a), true
}

// Platforms returns the platform of each stream's entity, for a later call of
// [Device.DiscoveryWithout] or [Device.EntitiesGone].
func (d Device) Platforms() map[string]Platform {
	all := map[string]Platform{}
	components := d.announcement().Components
	for _, s := range d.Streams {
		all[s.Name] = components[s.Name].Platform
	}
	return all
}

// announce encodes an announcement.
func (d Device) announce(a announcement) Config {
	text, err := json.Marshal(a)
	if err != nil {
		panic("homeassistant: discovery: " + err.Error()) // strings always marshal
	}
	return Config{Topic: DiscoveryTopic(d.Prefix, d.ClientID), Payload: text}
}

// DiscoveryTopic is the topic on which a device is announced with all its entities.
func DiscoveryTopic(prefix, clientID string) string {
	return prefix + "/device/" + clientID + "/config"
}

// StatusTopic is the topic on which Home Assistant publishes "online" when it has
// started (its birth message). A session that is subscribed to it announces again.
func StatusTopic(prefix string) string { return prefix + "/status" }

// area returns where Home Assistant should put the device: the configured area of the node,
// or that of all sensors and outputs with an area if it is the same.
func (d Device) area() string {
	area := d.Area
	for _, s := range d.Streams {
		switch {
		case d.Area != "" || s.Area == "":
		case area == "":
			area = s.Area
		case area != s.Area:
			return ""
		}
	}
	return area
}

// announcement makes the announcement with all entities. Its map is a new one, so
// the caller may change it.
func (d Device) announcement() announcement {
	a := announcement{
		Device: device{Identifiers: []string{d.ClientID}, Name: cmp.Or(d.Name, d.ClientID), Model: d.Hardware,
			SerialNumber: d.Serial, SWVersion: d.Version, SuggestedArea: d.area()},
		Origin:       origin{Name: "holdfast", SWVersion: d.Version, SupportURL: supportURL},
		Availability: []available{{Topic: d.Topics.Agent("status")}},
		Components:   d.diagnostics(),
	}
	if pi := "Raspberry Pi"; strings.HasPrefix(d.Hardware, pi) {
		a.Device.Manufacturer = pi
	}
	maps.Copy(a.Components, d.extras())
	for _, s := range d.Streams {
		a.Components[s.Name] = d.entity(s)
	}
	for name, c := range a.Components { // in each component, because not all versions use one for the device
		c.QoS = 1
		a.Components[name] = c
	}
	return a
}
