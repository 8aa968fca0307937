package homeassistant

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

// alarmNode is a node with an output of each sort and an alarm panel.
func alarmNode() Device {
	d := house("homeassistant", contact("front_door"))
	d.Outputs = map[string]Output{}
	for name, o := range map[string]struct {
		class string
		Output
	}{
		"siren": {"siren", Output{Command: "store-12/siren/set"}},
		"bell":  {"siren", Output{}}, // takes no orders
		"pump":  {"pump", Output{Command: "store-12/pump/set"}},
		"plug":  {"outlet", Output{Command: "store-12/plug/set"}},
		"valve": {"valve", Output{Command: "store-12/valve/set"}},
		"water": {"water", Output{Command: "store-12/water/set"}},
		"gate":  {"", Output{Command: "store-12/gate/set", Pulse: true}},
		"odd":   {"nonsense", Output{}},
	} {
		d.Outputs[name] = o.Output
		d.Streams = append(d.Streams, sensors.Stream{Name: name,
			Quantity: sensors.Quantity{Class: o.class, States: []string{"off", "on"}}})
	}
	d.Alarm = &Alarm{Command: "store-12/alarm/set", Modes: []string{"away", "home"}, Code: true}
	d.Streams = append(d.Streams, sensors.Stream{Name: AlarmStream, Quantity: sensors.Quantity{
		States: []string{"disarmed", "arming", "armed_home", "armed_away", "pending", "triggered"}}})
	return d
}

func TestOutputsAreValidForHomeAssistant(t *testing.T) {
	d := alarmNode()
	c := validate(t, d.Discovery().Payload)
	for _, want := range []struct{ name, key, value string }{
		{"siren", "platform", "siren"}, {"siren", "state_topic", "store-12/siren/state"},
		{"siren", "command_topic", "store-12/siren/set"}, {"siren", "state_value_template", "{{ value_json.value }}"},
		{"siren", "value_template", "<nil>"}, {"siren", "state_on", "1"}, {"siren", "state_off", "0"},
		{"siren", "support_volume_set", "false"}, {"siren", "payload_on", "<nil>"}, // the default, ON
		{"siren", "device_class", "<nil>"}, {"siren", "default_entity_id", "siren.store_12_siren"},
		{"bell", "platform", "binary_sensor"}, {"bell", "device_class", "sound"}, {"bell", "payload_on", "1"},
		{"bell", "command_topic", "<nil>"}, {"odd", "device_class", "<nil>"},
		{"pump", "platform", "switch"}, {"pump", "state_on", "1"}, {"pump", "device_class", "<nil>"},
		{"plug", "device_class", "outlet"},
		{"valve", "platform", "valve"}, {"valve", "payload_open", "ON"}, {"valve", "payload_close", "OFF"},
		{"valve", "state_open", "1"}, {"valve", "device_class", "<nil>"}, {"water", "device_class", "water"},
		{"gate", "platform", "button"}, {"gate", "payload_press", "ON"}, {"gate", "state_topic", "<nil>"},
		{"alarm", "platform", "alarm_control_panel"}, {"alarm", "supported_features", "[arm_away arm_home]"},
		{"alarm", "value_template", "{{ value_json.get('state') }}"}, {"alarm", "code", "REMOTE_CODE_TEXT"},
		{"alarm", "code_arm_required", "false"}, {"alarm", "options", "<nil>"},
		{"alarm", "command_template", "{{ dict(action=action, code=code) | tojson }}"},
		{"siren.fault", "device_class", "problem"}, {"siren.fault", "state_topic", "store-12/siren/state"},
		{"siren.fault", "entity_category", "diagnostic"}, {"bell.fault", "platform", "binary_sensor"},
		{"agent.order", "event_types", "[done refused expired duplicate]"},
		{"agent.rule", "event_types", "[tripped]"}, {"agent.rule", "state_topic", "store-12/agent/event"},
	} {
		if got := fmt.Sprint(c[want.name][want.key]); got != want.value {
			t.Errorf("%s: %s is %s, want %s", want.name, want.key, got, want.value)
		}
	}
	for _, m := range d.Entities() {
		if n := len(m.Topic) + len(m.Payload); n > 1000 {
			t.Errorf("%s: %d bytes", m.Topic, n)
		}
	}
}

func TestAPanelWithoutOrdersIsASensor(t *testing.T) {
	d := alarmNode()
	d.Alarm = &Alarm{Modes: []string{"away"}}
	if c := validate(t, d.Discovery().Payload)["alarm"]; c["platform"] != "sensor" || c["device_class"] != "enum" {
		t.Errorf("%v", c)
	}
	d.Alarm = &Alarm{Command: "store-12/alarm/set", Modes: []string{"away"}}
	if c := validate(t, d.Discovery().Payload)["alarm"]; c["code"] != nil || c["command_template"] != nil {
		t.Errorf("%v: want neither a code nor a template", c)
	}
}

// TestEntitiesOfARemovedOutputAreRemoved: with the entity of its stream those beside
// it go, in both forms of discovery, and those of the others stay.
func TestEntitiesOfARemovedOutputAreRemoved(t *testing.T) {
	before := alarmNode()
	was := before.Platforms()
	after := alarmNode()
	after.Alarm = nil
	after.Streams = slices.DeleteFunc(after.Streams, func(s sensors.Stream) bool {
		return s.Name == "siren" || s.Name == AlarmStream
	})
	delete(after.Outputs, "siren")
	c, removes := after.DiscoveryWithout(was)
	var got struct{ Components map[string]map[string]any }
	if err := json.Unmarshal(c.Payload, &got); err != nil || !removes {
		t.Fatal(err, removes)
	}
	removed := map[string]any{}
	for name, c := range got.Components {
		if len(c) == 1 {
			removed[name] = c["platform"]
		}
	}
	if want := map[string]any{"siren": "siren", "siren.fault": "binary_sensor",
		"alarm": "alarm_control_panel"}; !maps.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
	topics := after.EntitiesGone("homeassistant", was, true)
	want := []string{"homeassistant/alarm_control_panel/store-12/alarm/config",
		"homeassistant/binary_sensor/store-12/siren--fault/config", "homeassistant/siren/store-12/siren/config"}
	if slices.Sort(topics); !slices.Equal(topics, want) {
		t.Errorf("gone %q, want %q", topics, want)
	}

	bare := house("homeassistant", contact("front_door"))
	topics = bare.EntitiesGone("homeassistant", was, true)
	for name := range before.announcement().Components {
		stays := bare.announcement().Components[name].Platform != ""
		announced := slices.ContainsFunc(topics, func(topic string) bool {
			return strings.Contains(topic, "/store-12/"+strings.ReplaceAll(name, ".", "--")+"/")
		})
		if announced == stays {
			t.Errorf("%s: it stays %v, and is removed %v", name, stays, announced)
		}
	}
}
