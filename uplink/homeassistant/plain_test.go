package homeassistant

import (
	"fmt"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// TestPlainStatesAreReadAsTheyAre: the templates for JSON would make every entity of a
// plain stream unavailable.
func TestPlainStatesAreReadAsTheyAre(t *testing.T) {
	d := alarmNode()
	d.Streams = append(d.Streams, sensors.Stream{Name: "hum", Quantity: sensors.Quantity{Unit: "%", Class: "humidity"}},
		sensors.Stream{Name: "temp", Quantity: sensors.Quantity{Unit: "°C", Class: "temperature"}})
	d.Formats = payload.Formats{Default: payload.Plain, Streams: map[string]payload.Format{"temp": payload.JSON}}
	c := validate(t, d.Discovery().Payload)
	for _, want := range []struct{ name, key, value string }{
		{"hum", "value_template", plainTemplate},
		{"hum", "availability", "[map[topic:store-12/agent/status] map[topic:store-12/hum/state value_template:" +
			plainAvailable + "]]"},
		{"temp", "value_template", "{{ value_json.value }}"},
		{"front_door", "value_template", plainTemplate},
		{"front_door", "payload_on", "open"}, {"front_door", "payload_off", "closed"},
		{"siren", "state_value_template", plainTemplate}, {"siren", "state_on", "on"}, {"siren", "state_off", "off"},
		{"siren.fault", "value_template", plainFault}, {"siren.fault", "payload_on", "<nil>"},
		{"bell", "payload_on", "on"}, {"pump", "state_on", "on"}, {"pump", "value_template", plainTemplate},
		{"valve", "state_open", "on"}, {"valve", "state_closed", "off"}, {"valve", "payload_open", "ON"},
		{"gate", "payload_press", "ON"}, {"gate", "value_template", "<nil>"},
		{"alarm", "value_template", plainTemplate}, {"alarm", "platform", "alarm_control_panel"},
		{"agent.backlog", "value_template", "{{ value_json.backlog }}"},
	} {
		if got := fmt.Sprint(c[want.name][want.key]); got != want.value {
			t.Errorf("%s: %s is %s, want %s", want.name, want.key, got, want.value)
		}
	}
}
