package uplink

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
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
	sensor       platform = "sensor"
	binarySensor platform = "binary_sensor"
	event        platform = "event"

	enumSensor platform = "sensor with options" // for us alone: its platform is sensor
)

func platformOf(s sensors.Stream) platform {
	switch len(s.States) {
	case 0:
		return sensor
	case 2:
		return binarySensor
	}
	return enumSensor
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
func (o Options) Discovery() Message { return o.announce(o.announcement()) }

func (o Options) announce(a announcement) Message {
	payload, err := json.Marshal(a)
	if err != nil {
		panic("uplink: discovery: " + err.Error()) // strings always marshal
	}
	return Message{Topic: discoveryTopic(o.HomeAssistant.Prefix, o.ClientID), Payload: payload, Retain: true}
}

func discoveryTopic(prefix, clientID string) string {
	return prefix + "/device/" + clientID + "/config"
}

// homeStatusTopic is where Home Assistant says "online" when it has started.
func (o Options) homeStatusTopic() string { return o.HomeAssistant.Prefix + "/status" }

// homeStarted reports whether a message is Home Assistant's that it has started
// and wants to be told again.
func (o Options) homeStarted(m Message) bool {
	return o.HomeAssistant.Discovery && m.Topic == o.homeStatusTopic() && string(m.Payload) == "online"
}

const rediscoverWithin = 10 * time.Second

// rediscoverAfter is how long to wait before telling it: a start is busy, and a
// thousand devices hear of it at once.
func rediscoverAfter() time.Duration { return rand.N(rediscoverWithin) }

func (o Options) announcement() announcement {
	t := newTopics(o)
	a := announcement{
		Device:       device{Identifiers: []string{o.ClientID}, Name: o.ClientID, Model: o.Hardware, SWVersion: o.Version},
		Origin:       origin{Name: "holdfast", SWVersion: o.Version, SupportURL: supportURL},
		Availability: []available{{Topic: t.agent("status")}},
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

// unread is an entity that cannot be read now. A state that was cleared is no
// JSON.
const unread = "{{ 'online' if value_json is defined and value_json.value is not none else 'offline' }}"

// entity shows the state of a stream, never its history: a reading that comes
// late cannot change it.
func entity(t topics, s sensors.Stream) component {
	state := t.state[s.Name]
	c := component{
		Platform:         sensor,
		Name:             title(s.Name),
		UniqueID:         t.clientID + "/" + s.Name, // a topic's form: it can be nobody else's
		DeviceClass:      classOf(s),
		StateTopic:       state,
		ExpireAfter:      expireAfter(s),
		Availability:     []available{{Topic: t.agent("status")}, {state, unread}},
		AvailabilityMode: "all",
	}
	switch platformOf(s) {
	case binarySensor:
		c.Platform = binarySensor
		c.ValueTemplate, c.PayloadOff, c.PayloadOn = "{{ value_json.value }}", "0", "1"
	case enumSensor:
		c.DeviceClass, c.Options = "enum", s.States
		c.ValueTemplate = "{{ value_json.get('state') }}"
	default:
		c.Unit, c.StateClass = s.Unit, stateClassOf(c.DeviceClass)
		c.ValueTemplate = "{{ value_json.value }}"
	}
	c.DefaultEntityID = entityID(c.Platform, t.clientID, s.Name)
	return c
}

// expireAfter is how many seconds a state is good for: three of its beats, if
// it has any. A state that comes with events alone is good until the next.
func expireAfter(s sensors.Stream) int { return seconds(3 * beat(s)) }

// beat is how often a state is repeated whatever happens; 0: it is not. Of an
// alarm that a threshold makes only the transitions are readings.
func beat(s sensors.Stream) time.Duration {
	if slices.Equal(s.States, []string{"ok", "alarm"}) {
		return 0
	}
	return s.Every
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

const healthEvery = time.Minute // between two messages on agent/health

// diagnostics show how the agent itself is. Their keys have a dot, which no
// stream's name has.
func diagnostics(t topics) map[string]component {
	health := func(what, name, template string) component {
		return component{
			Platform: sensor, Name: name, UniqueID: t.clientID + "/agent/" + what, EntityCategory: "diagnostic",
			DefaultEntityID: entityID(sensor, t.clientID, "agent_"+what), StateClass: "measurement",
			StateTopic: t.agent("health"), ValueTemplate: template, ExpireAfter: seconds(3 * healthEvery),
		}
	}
	oldest := health("oldest", "Oldest unsent", "{{ value_json.oldest }}")
	oldest.DeviceClass, oldest.Unit = "duration", "s"
	faults := health("faults", "Faults", "{{ (value_json.faults or []) | count }}")
	faults.AttributesTopic, faults.AttributeTemplate = t.agent("health"), "{{ {'streams': value_json.faults or []} | tojson }}"
	return map[string]component{
		"agent.backlog": health("backlog", "Backlog", "{{ value_json.backlog }}"),
		"agent.oldest":  oldest,
		"agent.faults":  faults,
		"agent.gap": {
			Platform: event, Name: "Last gap", UniqueID: t.clientID + "/agent/gap", EntityCategory: "diagnostic",
			DefaultEntityID: entityID(event, t.clientID, "agent_gap"), EventTypes: []string{"gap"}, StateTopic: t.agent("event"),
			ValueTemplate: "{% if value_json.event == 'gap' %}{{ dict(value_json, event_type='gap') | tojson }}{% endif %}",
		},
	}
}

// title is a stream's name as a person writes it: "room_humidity" is Room humidity.
func title(name string) string {
	words := strings.Join(strings.FieldsFunc(name, isSeparator), " ")
	if words == "" {
		return name
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// entityID is in the form of Home Assistant's entity IDs, which have neither
// capitals nor dashes, and no underscore at an end or beside another.
func entityID(p platform, clientID, name string) string {
	words := strings.FieldsFunc(clientID+"_"+name, isSeparator)
	if len(words) == 0 {
		return "" // Home Assistant makes one of the names
	}
	return string(p) + "." + strings.ToLower(strings.Join(words, "_"))
}

func isSeparator(r rune) bool { return r == '_' || r == '-' }
