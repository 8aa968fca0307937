// Package homeassistant announces an agent and its streams to Home Assistant, by its
// MQTT discovery: as one device with all its entities, or entity by entity where a
// broker or a link does not carry a message of that size.
package homeassistant

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// MaxDiscovery is how large an announcement may be: brokers cut a connection
// for a payload of 1 MiB, and one that removes entities is larger.
const MaxDiscovery = 900 << 10 // bytes

const supportURL = "https://github.com/holdfast-iot/holdfast"

// A Platform is what kind of entity shows a stream.
type Platform string

const (
	platformSensor Platform = "sensor"
	platformBinary Platform = "binary_sensor"
	platformEvent  Platform = "event"

	platformEnum Platform = "sensor with options" // for us alone: its platform is sensor
)

func platformOf(s sensors.Stream) Platform {
	switch len(s.States) {
	case 0:
		return platformSensor
	case 2:
		return platformBinary
	}
	return platformEnum
}

// A Device is what Home Assistant is told of: an agent, its board and its streams.
type Device struct {
	ClientID  string
	Prefix    string // of Home Assistant's own topics
	Version   string // of the agent
	Hardware  string // the board's own name; empty: unknown
	Topics    payload.Topics
	Streams   []sensors.Stream
	Heartbeat time.Duration // between two messages on agent/health
}

// A Config is a retained message that announces something. Without a payload it
// removes what was announced there.
type Config struct {
	Topic   string
	Payload []byte
}

// An announcement is a device of Home Assistant's with all its entities, in the
// form of its device discovery.
type announcement struct {
	Device       device               `json:"device"`
	Origin       origin               `json:"origin"`
	Availability []available          `json:"availability"` // of all that have none of their own
	QoS          int                  `json:"qos"`
	Components   map[string]component `json:"components"`
}

type device struct {
	Identifiers  []string `json:"identifiers"`
	Name         string   `json:"name"`
	Manufacturer string   `json:"manufacturer,omitempty"`
	Model        string   `json:"model,omitempty"`
	SWVersion    string   `json:"sw_version,omitempty"`
}

type origin struct {
	Name       string `json:"name"`
	SWVersion  string `json:"sw_version,omitempty"`
	SupportURL string `json:"support_url"`
}

type available struct {
	Topic         string `json:"topic"`
	ValueTemplate string `json:"value_template,omitempty"`
}

// A component is one entity; with a platform alone, one that is to be removed.
type component struct {
	Platform          Platform    `json:"platform"`
	Name              string      `json:"name,omitempty"`
	UniqueID          string      `json:"unique_id,omitempty"`
	DefaultEntityID   string      `json:"default_entity_id,omitempty"`
	EntityCategory    string      `json:"entity_category,omitempty"`
	DeviceClass       string      `json:"device_class,omitempty"`
	StateClass        string      `json:"state_class,omitempty"`
	Unit              string      `json:"unit_of_measurement,omitempty"`
	Options           []string    `json:"options,omitempty"`
	EventTypes        []string    `json:"event_types,omitempty"`
	StateTopic        string      `json:"state_topic,omitempty"`
	ValueTemplate     string      `json:"value_template,omitempty"`
	PayloadOn         string      `json:"payload_on,omitempty"`
	PayloadOff        string      `json:"payload_off,omitempty"`
	ExpireAfter       int         `json:"expire_after,omitempty"` // seconds
	Availability      []available `json:"availability,omitempty"`
	AvailabilityMode  string      `json:"availability_mode,omitempty"`
	AttributesTopic   string      `json:"json_attributes_topic,omitempty"`
	AttributeTemplate string      `json:"json_attributes_template,omitempty"`
}

// Discovery announces the device with all its entities.
func (d Device) Discovery() Config { return d.announce(d.announcement()) }

// DiscoveryWithout announces the device, and removes the entities of streams that
// it has no longer, or that have another platform now. It reports false where there
// are none: was has the platform of each stream as it was announced.
func (d Device) DiscoveryWithout(was map[string]Platform) (c Config, some bool) {
	a := d.announcement()
	for name, p := range was {
		if p != platformSensor && p != platformBinary || a.Components[name].Platform == p {
			continue
		}
		a.Components[name], some = component{Platform: p}, true
	}
	if !some {
		return Config{}, false
	}
	return d.announce(a), true
}

// Platforms are those of the entities, by stream.
func (d Device) Platforms() map[string]Platform {
	all := map[string]Platform{}
	components := d.announcement().Components
	for _, s := range d.Streams {
		all[s.Name] = components[s.Name].Platform
	}
	return all
}

func (d Device) announce(a announcement) Config {
	text, err := json.Marshal(a)
	if err != nil {
		panic("homeassistant: discovery: " + err.Error()) // strings always marshal
	}
	return Config{Topic: DiscoveryTopic(d.Prefix, d.ClientID), Payload: text}
}

// DiscoveryTopic is where a device is announced.
func DiscoveryTopic(prefix, clientID string) string {
	return prefix + "/device/" + clientID + "/config"
}

// StatusTopic is where Home Assistant says "online" when it has started.
func StatusTopic(prefix string) string { return prefix + "/status" }

func (d Device) announcement() announcement {
	a := announcement{
		Device: device{Identifiers: []string{d.ClientID}, Name: d.ClientID, Model: d.Hardware,
			SWVersion: d.Version},
		Origin:       origin{Name: "holdfast", SWVersion: d.Version, SupportURL: supportURL},
		Availability: []available{{Topic: d.Topics.Agent("status")}},
		QoS:          1,
		Components:   d.diagnostics(),
	}
	if pi := "Raspberry Pi"; strings.HasPrefix(d.Hardware, pi) {
		a.Device.Manufacturer = pi
	}
	for _, s := range d.Streams {
		a.Components[s.Name] = d.entity(s)
	}
	return a
}
