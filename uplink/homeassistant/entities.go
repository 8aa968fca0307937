package homeassistant

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// availableTemplate makes an entity unavailable while its sensor cannot be read:
// the value is null then. A retained state that was cleared is an empty message,
// for which value_json is not defined.
const availableTemplate = "{{ 'online' if value_json is defined and value_json.value is not none else 'offline' }}"

// The entity of a sensor that is read at a fixed interval stays available for two failed
// reads in a row, because a single NAK on a bus should not trigger automations. Only the
// first failure is published, so the templates use the time: the entity keeps its value,
// because Home Assistant ignores an empty one, and expires (expire_after) if no read
// succeeds. It becomes unavailable at once if the failure in the state is older, as when a
// new connection publishes it again, or if there was no reading since the start (seq 0).
const (
	keptValue     = "{{ '' if value_json.value is none else value_json.value }}"
	keptAvailable = "{{ 'online' if value_json is defined and (value_json.value is not none or " +
		"value_json.seq and now().timestamp() * 1000 < value_json.ts + %d) else 'offline' }}"
)

// entity returns the entity of a stream. It uses the topic of the state, not that of the
// readings, so a late reading does not change what is displayed.
func (d Device) entity(s sensors.Stream) component {
	state := d.Topics.State(s.Name)
	c := component{
		Platform:         platformSensor,
		Name:             titleOf(s),
		UniqueID:         d.ClientID + "/" + s.Name, // neither part has a "/", so no two streams share one
		DeviceClass:      classOf(s),
		StateTopic:       state,
		ExpireAfter:      expireAfter(s),
		Availability:     []available{{Topic: d.Topics.Agent("status")}, {state, availableTemplate}},
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
		c.Unit, c.StateClass, c.Precision = s.Unit, stateClassOf(c.DeviceClass, s.Total), s.Filter.Precision
		c.ValueTemplate = "{{ value_json.value }}"
	}
	if c.ExpireAfter > 0 && interval(s) == s.Every && c.Options == nil {
		c.ValueTemplate = keptValue
		c.Availability[1].ValueTemplate = fmt.Sprintf(keptAvailable, 1000*c.ExpireAfter)
	}
	if o, ok := d.Outputs[s.Name]; ok {
		o.output(&c, s.Class)
	}
	if d.Alarm != nil && s.Name == AlarmStream {
		d.Alarm.alarm(&c)
	}
	if d.Formats.Of(s.Name).IsPlain() {
		c.plain(s)
	}
	c.DefaultEntityID = entityID(c.Platform, d.ClientID, s.Name)
	return c
}

// expireAfter returns the number of seconds after which Home Assistant shows an entity as
// unavailable: three intervals, so that two messages may be lost, and at least minExpiry,
// because a link may be down for some seconds. It returns 0, which means never, for a state
// that is published only when it changes.
func expireAfter(s sensors.Stream) int { return expiryOf(interval(s)) }

// expiryOf is expireAfter for an interval; 0: there is no interval.
func expiryOf(every time.Duration) int {
	if every == 0 {
		return 0
	}
	return max(minExpiry, seconds(3*every))
}

// minExpiry is the shortest time, in seconds, after which an entity expires.
const minExpiry = 60

// interval returns the longest time between two states of a stream; 0: there is no limit,
// because a state is published only after a change. That is so for contacts, for the alarm
// of a threshold, and for a stream with report.change and without report.at_least.
func interval(s sensors.Stream) time.Duration {
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

// seconds rounds up: an entity must not expire too early.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// diagnostics returns the entities that show the state of the agent itself: three
// values of agent/health, and the last gap that was declared. Their keys have a
// dot, which no stream's name has, so they never replace a stream's entity. The map
// is a new one at each call.
func (d Device) diagnostics() map[string]component {
	health := func(name, title, template string) component {
		return component{
			Platform: platformSensor, Name: title, UniqueID: d.ClientID + "/agent/" + name,
			EntityCategory: "diagnostic", StateClass: "measurement",
			DefaultEntityID: entityID(platformSensor, d.ClientID, "agent_"+name), StateTopic: d.Topics.Agent("health"),
			ValueTemplate: template,
			ExpireAfter:   expiryOf(d.Heartbeat),
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

// titleOf returns the displayed name of a stream: the configured name, or one made from its
// identifier. Home Assistant puts the device's name before it.
func titleOf(s sensors.Stream) string { return cmp.Or(s.Title, title(s.Name)) }

// title makes a name from an identifier: "room_humidity" becomes "Room humidity". The names
// of streams are ASCII. A name that consists of separators is not changed.
func title(name string) string {
	words := strings.Join(strings.FieldsFunc(name, isSeparator), " ")
	if words == "" {
		return name
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// entityID returns the entity ID to propose: "sensor.store_12_room". Entity IDs of Home
// Assistant have no capitals, no dashes, no underscore at an end and no two successive ones
// (valid_entity_id in its core.py). Home Assistant appends a number to a duplicate.
func entityID(p Platform, clientID, name string) string {
	words := strings.FieldsFunc(clientID+"_"+name, isSeparator)
	if len(words) == 0 {
		return "" // Home Assistant makes one from the names
	}
	return string(p) + "." + strings.ToLower(strings.Join(words, "_"))
}

// isSeparator reports whether a character separates words in a name.
func isSeparator(r rune) bool { return r == '_' || r == '-' }
