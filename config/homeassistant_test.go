package config

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
)

func TestDiscoveryIsOffByDefault(t *testing.T) {
	for keys, want := range map[string]uplink.HomeAssistant{
		"":                                  {Prefix: "homeassistant"},
		"home_assistant: {discovery: true}": {Discovery: true, Prefix: "homeassistant"},
		"home_assistant: {discovery: false, prefix: ha}": {Prefix: "ha"},
		"home_assistant: {discovery: true, prefix: a/b}": {Discovery: true, Prefix: "a/b"},
	} {
		if got := must(t, "mqtt: {server: mqtt://b}\n"+keys+oneDoor).Uplink.HomeAssistant; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v", keys, got)
		}
	}
	for keys, want := range map[string]string{
		"home_assistant: {prefix: ha}":                  `f.yaml:2:1: home_assistant: needs "discovery"`,
		"home_assistant:":                               `f.yaml:2:1: home_assistant: needs "discovery"`,
		"home_assistant: yes":                           "f.yaml:2:17: home_assistant: want keys and values",
		"home_assistant: {discovery: yes}":              "f.yaml:2:29: home_assistant.discovery: want true or false",
		"home_assistant: {discovery: true, prefix: ''}": "f.yaml:2:43: home_assistant.prefix: ",
		"home_assistant: {discovery: true, prefix: a+}": "f.yaml:2:43: home_assistant.prefix: ",
		"home_assistant: {discovery: true, prefix: $a}": "f.yaml:2:43: home_assistant.prefix: ",
	} {
		_, err := read("mqtt: {server: mqtt://b}\n" + keys + oneDoor)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", keys, err)
		}
	}
}

func TestDiscoveryHasOutputsThatTakeOrders(t *testing.T) {
	const outputs = oneDoor + `
outputs:
  siren: {gpio: GPIO22, class: siren, max_on: 3m, commands: true}
  gate:  {gpio: GPIO23, pulse: 500ms, commands: true}
  lamp:  {gpio: GPIO24, max_on: 1h}
`
	want := map[string]homeassistant.Output{"siren": {Command: "porch/siren/set"},
		"gate": {Command: "porch/gate/set", Pulse: true}, "lamp": {}}
	const base = "client_id: porch\nmqtt: {server: mqtts://b}\nhome_assistant: {discovery: true}\n"
	if got := must(t, base+outputs).Uplink.HomeAssistant.Outputs; !maps.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want["siren"], want["gate"] = homeassistant.Output{}, homeassistant.Output{Pulse: true}
	signed := base + "commands: {key_file: /etc/holdfast/orders.key}\n" + outputs
	if got := must(t, signed).Uplink.HomeAssistant.Outputs; !maps.Equal(got, want) {
		t.Errorf("signed: got %+v, want %+v", got, want)
	}
}

// A class that Home Assistant does not know affects only Home Assistant, so the agent
// starts.
func TestUnknownClassIsAWarning(t *testing.T) {
	const sensors = "\nsensors:\n  gate: {kind: probe, class: gate}\n" +
		"  tank: {kind: probe, class: distance}\n  room: {kind: room, i2c: 1}\n  level: {kind: probe}\n"
	const file = "mqtt: {server: mqtt://b}\nhome_assistant: {discovery: %v}" + sensors
	if got := must(t, fmt.Sprintf(file, false)).Warnings; got != nil {
		t.Errorf("without Home Assistant: %v", got)
	}
	lines := strings.Split(must(t, fmt.Sprintf(file, true)).Warnings.Error(), "\n")
	want := []string{
		`f.yaml:4:30: sensors.gate.class: Home Assistant has no class "gate" for a number`,
		`f.yaml:5:30: sensors.tank.class: Home Assistant takes the class "distance" in mm, `,
		`f.yaml:7:3: sensors.level.class: Home Assistant takes the class "distance" in mm, `,
	}
	for i, w := range want {
		if len(lines) != len(want) || !strings.HasPrefix(lines[i], w) {
			t.Fatalf("got  %q\nwant %q", lines, want)
		}
	}
}

func TestTooLargeAnnouncementIsAnError(t *testing.T) {
	var b strings.Builder
	b.WriteString("mqtt: {server: mqtt://b}\nhome_assistant: {discovery: true}\nsensors:\n")
	for i := range 2500 {
		fmt.Fprintf(&b, "  s%d: {kind: probe}\n", i)
	}
	_, err := read(b.String())
	if err == nil || !strings.HasPrefix(err.Error(),
		"f.yaml:2:29: home_assistant.discovery: to announce 2500 streams takes ") {
		t.Errorf("got %.300v", err)
	}
}
