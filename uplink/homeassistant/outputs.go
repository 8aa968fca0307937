package homeassistant

import (
	"cmp"
	"maps"
	"slices"
)

// The platforms of what takes orders. The keys are from siren.py, switch.py, valve.py,
// button.py and alarm_control_panel.py in homeassistant/components/mqtt.
const (
	platformSiren  Platform = "siren"
	platformSwitch Platform = "switch"
	platformValve  Platform = "valve"
	platformButton Platform = "button"
	platformAlarm  Platform = "alarm_control_panel"
)

// streamPlatforms are the platforms that the entity of a stream can have.
var streamPlatforms = []Platform{platformSensor, platformBinary, platformSiren, platformSwitch, platformValve,
	platformButton, platformAlarm}

// isStreamPlatform reports whether an entity of a stream can have the platform. A
// platform that was read from a retained message may be anything.
func isStreamPlatform(p Platform) bool { return slices.Contains(streamPlatforms, p) }

// An Output is what Home Assistant has to know of an output besides its stream.
type Output struct {
	// Command is the topic of its orders. Empty: it takes none from Home Assistant, which
	// cannot sign them, and is announced as a binary sensor.
	Command string
	Pulse   bool // each order lasts a fixed time: it is announced as a button
}

// An Alarm is what Home Assistant has to know of the alarm panel besides its stream.
type Alarm struct {
	Command   string   // the topic of its orders; empty: it takes none, and is announced as a sensor
	Modes     []string // "away", "home"
	Code      bool     // a code is asked for, and sent with the order
	CodeToArm bool     // also to arm, and not only to disarm
}

// orderSeconds is how long a broker with MQTT 5 keeps an order for an agent that is
// away. Versions of Home Assistant that do not know the key leave it out.
const orderSeconds = 30

// orders are the keys of a component that takes orders, of all platforms: Home Assistant's
// format is flat, hence so many fields. Its defaults are what is wanted of the rest:
// nothing is retained, and no state is assumed.
type orders struct {
	CommandTopic    string   `json:"command_topic,omitempty"`
	CommandTemplate string   `json:"command_template,omitempty"`
	MessageExpiry   int      `json:"message_expiry_interval,omitempty"` // seconds
	PayloadPress    string   `json:"payload_press,omitempty"`
	PayloadOpen     string   `json:"payload_open,omitempty"`
	PayloadClose    string   `json:"payload_close,omitempty"`
	StateTemplate   string   `json:"state_value_template,omitempty"` // value_template of a siren
	StateOn         string   `json:"state_on,omitempty"`
	StateOff        string   `json:"state_off,omitempty"`
	StateOpen       string   `json:"state_open,omitempty"`
	StateClosed     string   `json:"state_closed,omitempty"`
	SupportVolume   *bool    `json:"support_volume_set,omitempty"` // absent: true
	Features        []string `json:"supported_features,omitempty"`
	Code            string   `json:"code,omitempty"`
	CodeArmRequired *bool    `json:"code_arm_required,omitempty"` // absent: true
}

// output changes the entity of a stream of two states into that of an output. A state
// that is not known is "None" by the template, which all of these platforms show as
// unknown.
func (o Output) output(c *component, class string) {
	c.DeviceClass = ""
	if o.Command == "" {
		c.DeviceClass = classOfState[class]
		return
	}
	c.CommandTopic, c.MessageExpiry = o.Command, orderSeconds
	c.PayloadOff, c.PayloadOn = "", ""
	switch {
	case o.Pulse:
		c.Platform, c.PayloadPress = platformButton, "ON"
		c.StateTopic, c.ValueTemplate = "", "" // a button has no state
	case class == "siren":
		c.Platform, c.StateOn, c.StateOff = platformSiren, "1", "0"
		c.StateTemplate, c.ValueTemplate = c.ValueTemplate, ""
		c.SupportVolume = new(bool)
	case class == "valve" || class == "water" || class == "gas":
		c.Platform, c.StateOpen, c.StateClosed = platformValve, "1", "0"
		c.PayloadOpen, c.PayloadClose = "ON", "OFF"
		if class != "valve" {
			c.DeviceClass = class
		}
	default:
		c.Platform, c.StateOn, c.StateOff = platformSwitch, "1", "0"
		if class == "outlet" || class == "switch" {
			c.DeviceClass = class
		}
	}
}

// classOfState are the device classes of a binary sensor that shows what an output of a
// class does.
var classOfState = map[string]string{"siren": "sound", "valve": "opening", "water": "opening", "gas": "opening",
	"outlet": "power", "switch": "power", "light": "light", "lock": "lock"}

// alarm changes the entity of the panel's stream into that of a panel.
func (a Alarm) alarm(c *component) {
	if a.Command == "" {
		return
	}
	c.Platform, c.DeviceClass, c.Options = platformAlarm, "", nil
	c.CommandTopic, c.MessageExpiry = a.Command, orderSeconds
	for _, mode := range a.Modes {
		c.Features = append(c.Features, "arm_"+mode)
	}
	c.CodeArmRequired = &a.CodeToArm
	if a.Code { // it may have letters
		c.Code = "REMOTE_CODE_TEXT"
		c.CommandTemplate = "{{ dict(action=action, code=code) | tojson }}"
	}
}

// extras are the entities of a device with outputs besides those of its streams: whether
// it is unknown what an output does, which rule began last, and what became of the last
// order. The map is a new one at each call.
func (d Device) extras() map[string]component {
	all, called := map[string]component{}, map[string]string{}
	for _, s := range d.Streams {
		called[s.Name] = s.Title
	}
	for name, o := range d.Outputs {
		fault := component{
			Platform: platformBinary, Name: cmp.Or(called[name], title(name)) + " fault",
			UniqueID:       d.ClientID + "/" + name + "/fault",
			EntityCategory: "diagnostic", DeviceClass: "problem",
			DefaultEntityID: entityID(platformBinary, d.ClientID, name+"_fault"), StateTopic: d.Topics.State(name),
			ValueTemplate: "{{ 'ON' if value_json is defined and value_json.value is none else 'OFF' }}",
		}
		if d.Formats.Of(name).IsPlain() {
			fault.ValueTemplate = plainFault
		}
		all[faultOf(name)], all[ruleName] = fault, d.lastRule()
		if o.Command != "" {
			all[orderName] = d.lastOrder()
		}
	}
	return all
}

// Keys of the entities in extras. They have a dot, which no stream's name has.
const (
	orderName = "agent.order"
	ruleName  = "agent.rule"
)

func faultOf(output string) string { return output + ".fault" }

// lastOrder is the entity of the answers to orders.
func (d Device) lastOrder() component {
	return component{
		Platform: platformEvent, Name: "Last order", UniqueID: d.ClientID + "/agent/order",
		EntityCategory: "diagnostic", DefaultEntityID: entityID(platformEvent, d.ClientID, "agent_order"),
		EventTypes: orderResults, StateTopic: d.Topics.Agent("event"),
		ValueTemplate: "{% if value_json.event == 'command' %}" +
			"{{ dict(value_json, event_type=value_json.result) | tojson }}{% endif %}",
	}
}

// lastRule is the entity of the rules that began, with the streams that met them.
func (d Device) lastRule() component {
	return component{
		Platform: platformEvent, Name: "Last rule", UniqueID: d.ClientID + "/agent/rule",
		EntityCategory: "diagnostic", DefaultEntityID: entityID(platformEvent, d.ClientID, "agent_rule"),
		EventTypes: []string{"tripped"}, StateTopic: d.Topics.Agent("event"),
		ValueTemplate: "{% if value_json.event == 'tripped' %}" +
			"{{ dict(value_json, event_type='tripped') | tojson }}{% endif %}",
	}
}

// extrasGone are the entities in extras that may have been announced with streams that are
// gone or have another platform now, by the platform of each. was has the platform of each
// stream as it was announced before, stay what is announced now. Any stream of two states
// may have been an output that took no orders.
func extrasGone(was map[string]Platform, stay map[string]component) map[string]Platform {
	gone := map[string]Platform{}
	for name, p := range was {
		if stay[name].Platform == p {
			continue
		}
		switch p {
		case platformSiren, platformSwitch, platformValve, platformButton:
			gone[orderName] = platformEvent
			fallthrough
		case platformBinary:
			gone[ruleName], gone[faultOf(name)] = platformEvent, platformBinary
		}
	}
	maps.DeleteFunc(gone, func(name string, _ Platform) bool { return stay[name].Platform != "" })
	return gone
}

// orderResults are what can become of an order, as agent/event says it.
var orderResults = []string{"done", "refused", "expired", "duplicate"}
