package uplink

import (
	"encoding/json"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// HomeAssistant says whether and where our device is announced.
type HomeAssistant struct {
	Discovery bool
	Prefix    string // of Home Assistant's own topics: "homeassistant"
}

// MaxDiscovery is how large an announcement may be: brokers cut a connection
// for a payload of 1 MiB, and one that removes entities is larger.
const MaxDiscovery = 900 << 10 // bytes

const supportURL = "https://github.com/holdfast-iot/holdfast"

// A platform is what kind of entity shows a stream.
type platform string

const (
	platformSensor platform = "sensor"
	platformBinary platform = "binary_sensor"
	platformEvent  platform = "event"

	platformEnum platform = "sensor with options" // for us alone: its platform is sensor
)

func platformOf(s sensors.Stream) platform {
	switch len(s.States) {
	case 0:
		return platformSensor
	case 2:
		return platformBinary
	}
	return platformEnum
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
	Platform          platform    `json:"platform"`
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

// Discovery is the retained message that announces our device and its entities.
func (o Options) Discovery() mqtt.Message { return o.announce(o.announcement()) }

func (o Options) announce(a announcement) mqtt.Message {
	payload, err := json.Marshal(a)
	if err != nil {
		panic("uplink: discovery: " + err.Error()) // strings always marshal
	}
	return mqtt.Message{Topic: discoveryTopic(o.HomeAssistant.Prefix, o.ClientID), Payload: payload, Retain: true}
}

func discoveryTopic(prefix, clientID string) string {
	return prefix + "/device/" + clientID + "/config"
}

// homeStatusTopic is where Home Assistant says "online" when it has started.
func (o Options) homeStatusTopic() string { return o.HomeAssistant.Prefix + "/status" }

// homeStarted reports whether a message is Home Assistant's that it has started
// and wants to be told again.
func (o Options) homeStarted(m mqtt.Message) bool {
	return o.HomeAssistant.Discovery && m.Topic == o.homeStatusTopic() && string(m.Payload) == "online"
}

func (o Options) announcement() announcement {
	t := o.topicNames()
	a := announcement{
		Device:       device{Identifiers: []string{o.ClientID}, Name: o.ClientID, Model: o.Hardware, SWVersion: o.Version},
		Origin:       origin{Name: "holdfast", SWVersion: o.Version, SupportURL: supportURL},
		Availability: []available{{Topic: t.Agent("status")}},
		QoS:          1,
		Components:   diagnostics(t),
	}
	if pi := "Raspberry Pi"; strings.HasPrefix(o.Hardware, pi) {
		a.Device.Manufacturer = pi
	}
	for _, s := range o.Streams {
		a.Components[s.Name] = entity(t, s)
	}
	return a
}
