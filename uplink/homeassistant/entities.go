package homeassistant

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// unread is an entity that cannot be read now. A state that was cleared is no
// JSON.
const unread = "{{ 'online' if value_json is defined and value_json.value is not none else 'offline' }}"

// entity shows the state of a stream, never its history: a reading that comes
// late cannot change it.
func (d Device) entity(s sensors.Stream) component {
	state := d.Topics.State(s.Name)
	c := component{
		Platform:         platformSensor,
		Name:             title(s.Name),
		UniqueID:         d.ClientID + "/" + s.Name, // a topic's form: it can be nobody else's
		DeviceClass:      classOf(s),
		StateTopic:       state,
		ExpireAfter:      expireAfter(s),
		Availability:     []available{{Topic: d.Topics.Agent("status")}, {state, unread}},
		AvailabilityMode: "all",
	}
	switch platformOf(s) {
	case platformBinary:
		c.Platform = platformBinary
		c.ValueTemplate, c.PayloadOff, c.PayloadOn = "{{ value_json.value }}", "0", "1"
	case platformEnum:
		c.DeviceClass, c.Options = "enum", s.States
		c.ValueTemplate = "{{ value_json.get('state') }}"
	default:
		c.Unit, c.StateClass = s.Unit, stateClassOf(c.DeviceClass, s.Total)
		c.ValueTemplate = "{{ value_json.value }}"
	}
	c.DefaultEntityID = entityID(c.Platform, d.ClientID, s.Name)
	return c
}

// expireAfter is how many seconds a state is good for: three of its beats, if
// it has any. A state that comes with events alone is good until the next.
func expireAfter(s sensors.Stream) int { return seconds(3 * beat(s)) }

// beat is how often a state is repeated whatever happens; 0: it is not. Of an
// alarm that a threshold makes only the transitions are readings, and of a stream
// that reports changes alone nothing is told while there are none.
func beat(s sensors.Stream) time.Duration {
	report := s.Filter.Report
	switch {
	case slices.Equal(s.States, sensors.AlarmStates), s.Every == 0:
		return 0
	case report.AtLeast > 0:
		return max(report.AtLeast, s.Every)
	case report.Change > 0:
		return 0
	}
	return s.Every
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// diagnostics show how the agent itself is. Their keys have a dot, which no
// stream's name has.
func (d Device) diagnostics() map[string]component {
	health := func(name, title, template string) component {
		return component{
			Platform: platformSensor, Name: title, UniqueID: d.ClientID + "/agent/" + name,
			EntityCategory: "diagnostic", StateClass: "measurement",
			DefaultEntityID: entityID(platformSensor, d.ClientID, "agent_"+name), StateTopic: d.Topics.Agent("health"),
			ValueTemplate: template,
			ExpireAfter:   seconds(3 * d.Heartbeat),
		}
	}
	oldest := health("oldest", "Oldest unsent", "{{ value_json.oldest }}")
	oldest.DeviceClass, oldest.Unit = "duration", "s"
	faults := health("faults", "Faults", "{{ value_json.faults | count }}")
	faults.AttributesTopic, faults.AttributeTemplate = d.Topics.Agent("health"),
		"{{ {'streams': value_json.faults} | tojson }}"
	return map[string]component{
		"agent.backlog": health("backlog", "Backlog", "{{ value_json.backlog }}"),
		"agent.oldest":  oldest,
		"agent.faults":  faults,
		"agent.gap": {
			Platform: platformEvent, Name: "Last gap", UniqueID: d.ClientID + "/agent/gap",
			EntityCategory:  "diagnostic",
			DefaultEntityID: entityID(platformEvent, d.ClientID, "agent_gap"), EventTypes: []string{"gap"},
			StateTopic: d.Topics.Agent("event"),
			ValueTemplate: "{% if value_json.event == 'gap' %}{{ dict(value_json, event_type='gap') | tojson }}{% " +
				"endif %}",
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
func entityID(p Platform, clientID, name string) string {
	words := strings.FieldsFunc(clientID+"_"+name, isSeparator)
	if len(words) == 0 {
		return "" // Home Assistant makes one of the names
	}
	return string(p) + "." + strings.ToLower(strings.Join(words, "_"))
}

func isSeparator(r rune) bool { return r == '_' || r == '-' }
