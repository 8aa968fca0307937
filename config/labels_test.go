package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestDisplayNamesInAnyScript: names and areas in any script reach the streams, the node
// and Home Assistant, and no identifier changes.
func TestDisplayNamesInAnyScript(t *testing.T) {
	const file = `
client_id: porch
name: 厨房
area: 1階　台所
mqtt: {server: mqtts://b}
home_assistant: {discovery: true}
sensors:
  door:    {kind: contact, gpio: 17, name: "Haustür 🚪", area: Flur}
  room:    {kind: bme280, i2c: 1, name: Küche, area: Küche, streams: {humidity: {stream: hum, name: "Feuchte"},
    pressure: air, temperature: {area: Herd}}, alarm: {humidity: {above: 80}}}
  cpu:     {kind: hwmon, name: cpu_thermal, streams: {temperature: {name: "CPU"}}}
  bare:    {kind: contact, gpio: 22}
outputs:
  siren: {gpio: GPIO24, name: آژیر, area: بام, max_on: 3m, commands: true}
arming: {name: Alarmanlage, area: Flur}
`
	got, err := Parse("f", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, s := range got.Uplink.Streams {
		said = append(said, fmt.Sprintf("%s: %s, %s", s.Name, s.Title, s.Area))
	}
	want := []string{"door: Haustür 🚪, Flur", "hum: Feuchte, Küche", "hum_alarm: Feuchte alarm, Küche",
		"room_temperature: Küche temperature, Herd", "air: Küche pressure, Küche", "cpu: CPU, ", "bare: , ",
		"siren: آژیر, بام", "alarm: Alarmanlage, Flur"}
	if !reflect.DeepEqual(said, want) {
		t.Errorf("got  %q\nwant %q", said, want)
	}
	if up := got.Uplink; up.Title != "厨房" || up.Area != "1階　台所" || up.ClientID != "porch" {
		t.Errorf("the node is %q in %q", up.Title, up.Area)
	}
	if room := got.Sensors[1]; room.Title != "Küche" || got.Sensors[2].Title != "" {
		t.Errorf("the sensors are %q and %q", room.Title, got.Sensors[2].Title)
	}
}

// TestUnprintableNameIsAnError: each error has the position of the name.
func TestUnprintableNameIsAnError(t *testing.T) {
	for text, want := range map[string]string{
		`""`:                    "is empty: write a name, or leave the key out",
		`"\u3000"`:              "is empty",
		`" Tank"`:               `" Tank" begins or ends with a blank: remove it`,
		`"a\nb"`:                "has the character U+000A, which is not shown: remove it",
		`"\u202Egnp.exe"`:       "has the character U+202E, which is not shown",
		`"\uE000"`:              "has the character U+E000",
		strings.Repeat("厨", 65): "has 65 characters: at most 64 are allowed",
		"[a]":                   "want a single value, not a list",
		strings.Repeat("厨", 64): "",
		`"👩‍🌾 می` + "\u200c" + `خواهم"`: "",
		`"0"`:                            "",
		"yes":                            "",
		`"Büro 2.OG ` + "\u00a0" + `№1"`: "",
	} {
		for place, file := range map[string]string{
			"name":           "name: %s\nmqtt: {server: mqtt://b}" + oneDoor,
			"area":           "mqtt: {server: mqtt://b}\narea: %s" + oneDoor,
			"sensors.p.name": "mqtt: {server: mqtt://b}\nsensors: {p: {kind: probe, name: %s}}",
			"sensors.p.area": "mqtt: {server: mqtt://b}\nsensors: {p: {kind: probe, area: %s}}",
			"sensors.p.streams.level.name": "mqtt: {server: mqtt://b}\n" +
				"sensors: {p: {kind: probe, streams: {level: {name: %s}}}}",
		} {
			_, err := read(fmt.Sprintf(file, text))
			switch {
			case want == "" && err != nil:
				t.Errorf("%s: %s: %v", place, text, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), ": "+place+": "+want) ||
				strings.Contains(err.Error(), "\n")):
				t.Errorf("%s: %s: got %v, want %s", place, text, err, want)
			}
		}
	}
}

// TestStreamsTakeIdentifiersAndKeys: the error of an invalid identifier has its position,
// in both notations.
func TestStreamsTakeIdentifiersAndKeys(t *testing.T) {
	for keys, want := range map[string]string{
		"{level: deep}":                   "",
		"{level: {stream: deep}}":         "",
		"{level: {name: Deep}}":           "",
		"{level: {}}":                     "",
		"{level: a b}":                    `f.yaml:2:38: sensors.p.streams.level: "a b" is not a valid name`,
		"{level: {stream: a b}}":          `f.yaml:2:46: sensors.p.streams.level.stream: "a b" is not a valid name`,
		"{level: [a]}":                    "f.yaml:2:45: sensors.p.streams.level: want a single value, not a list",
		"{level: }":                       "f.yaml:2:45: sensors.p.streams.level: has no value",
		"{level: {strem: deep}}":          `f.yaml:2:46: sensors.p.streams.level: unknown key "strem" (did you mean "stream"?)`,
		"{level: {stream: }}":             "f.yaml:2:54: sensors.p.streams.level.stream: has no value",
		"{depth: {name: Deep}}":           `f.yaml:2:38: sensors.p.streams.depth: a probe measures no "depth"; it measures level`,
		"{level: {stream: a, stream: b}}": `f.yaml:2:57: sensors.p.streams.level: key "stream" is repeated`,
	} {
		_, err := read("mqtt: {server: mqtt://b}\nsensors: {p: {kind: probe, streams: " + keys + "}}")
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s:\ngot  %v\nwant %s", keys, err, want)
		}
	}
}
