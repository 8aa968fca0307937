package homeassistant

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// TestHomeAssistantShowsConfiguredNames, and what it finds devices and entities by does
// not change with that: an entity keeps its history when its sensor is given a name.
func TestHomeAssistantShowsConfiguredNames(t *testing.T) {
	plain := house("homeassistant", contact("front_door"), humidity("room_humidity"), contact("siren"), contact("alarm"))
	plain.Outputs = map[string]Output{"siren": {Command: "store-12/siren/set"}}
	named := plain
	named.Name, named.Area = "厨房", "1階"
	named.Streams = append([]sensors.Stream(nil), plain.Streams...)
	for i, name := range []string{"Haustür 🚪", "湿度", "آژیر", "Panel \"1\" & <2>"} {
		named.Streams[i].Title = name
	}
	before, after := validate(t, plain.Discovery().Payload), validate(t, named.Discovery().Payload)
	for key, want := range map[string]string{"front_door": "Haustür 🚪", "room_humidity": "湿度", "siren": "آژیر",
		"siren.fault": "آژیر fault", "alarm": "Panel \"1\" & <2>"} {
		if got := after[key]["name"]; got != want {
			t.Errorf("%s is called %v, want %s", key, got, want)
		}
		after[key]["name"] = before[key]["name"]
	}
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("more than the names differs:\n%v\n%v", before, after)
	}
	if plain.Discovery().Topic != named.Discovery().Topic {
		t.Error("the topic differs")
	}
	var got struct{ Device device }
	if err := json.Unmarshal(named.Discovery().Payload, &got); err != nil {
		t.Fatal(err)
	}
	if d := got.Device; d.Name != "厨房" || d.SuggestedArea != "1階" || d.Identifiers[0] != "store-12" {
		t.Errorf("the device is %+v", d)
	}
	for _, m := range named.Entities() {
		if !strings.Contains(string(m.Payload), `"name":"厨房"`) {
			t.Errorf("%s: the device has no name", m.Topic)
		}
	}
}

// TestTheAreaIsThatOfTheNodeOrOfAllItsStreams: Home Assistant has one area for a device.
func TestTheAreaIsThatOfTheNodeOrOfAllItsStreams(t *testing.T) {
	for _, c := range []struct {
		node    string
		streams []string
		want    string
	}{
		{"Küche", []string{"Flur", ""}, "Küche"}, {"", []string{"", "Flur", "Flur"}, "Flur"},
		{"", []string{"Flur", "", "Bad"}, ""}, {"", []string{"", ""}, ""}, {"", nil, ""},
	} {
		d := house("homeassistant")
		d.Area = c.node
		for i, area := range c.streams {
			s := contact(fmt.Sprint("s", i))
			s.Area = area
			d.Streams = append(d.Streams, s)
		}
		if got := d.announcement().Device.SuggestedArea; got != c.want {
			t.Errorf("%+v: suggested %q", c, got)
		}
	}
}

// TestOneFailedReadDoesNotMakeAnEntityUnavailable where the sensor is read at a pace: the entity
// keeps its value until it expires. Where nothing would expire, it is unavailable at once.
func TestOneFailedReadDoesNotMakeAnEntityUnavailable(t *testing.T) {
	paced, event, sparse, rare := humidity("paced"), contact("event"), humidity("sparse"), humidity("rare")
	paced.Every, sparse.Every, rare.Every = 30*time.Second, 30*time.Second, 30*time.Second
	sparse.Filter.Report.Change = 1
	rare.Filter.Report = sensors.Report{Change: 1, AtLeast: 10 * time.Minute}
	wet := contact("wet")
	wet.Every = time.Minute
	c := validate(t, house("ha", paced, event, sparse, rare, wet).Discovery().Payload)
	for name, kept := range map[string]string{"paced": "90000", "event": "", "sparse": "", "rare": "", "wet": "180000"} {
		value := c[name]["value_template"].(string)
		available := c[name]["availability"].([]any)[1].(object)["value_template"].(string)
		switch {
		case kept == "" && (value != "{{ value_json.value }}" || available != availableTemplate):
			t.Errorf("%s keeps its value: %s, %s", name, value, available)
		case kept != "" && (value != keptValue || !strings.Contains(available, "value_json.ts + "+kept+")")):
			t.Errorf("%s does not keep its value for %s ms: %s, %s", name, kept, value, available)
		}
	}
}

// TestHomeAssistantShowsThePublishedDecimalPlaces, no places among them.
func TestHomeAssistantShowsThePublishedDecimalPlaces(t *testing.T) {
	free, whole, tenths := humidity("free"), humidity("whole"), humidity("tenths")
	whole.Filter.Precision, tenths.Filter.Precision = new(int), new(int)
	*tenths.Filter.Precision = 1
	c := validate(t, house("ha", free, whole, tenths).Discovery().Payload)
	for name, want := range map[string]any{"free": nil, "whole": 0.0, "tenths": 1.0} {
		if got := c[name]["suggested_display_precision"]; got != want {
			t.Errorf("%s: %v places, want %v", name, got, want)
		}
	}
}

// TestLongNamesFitIntoSingles: they are for links that carry little.
func TestLongNamesFitIntoSingles(t *testing.T) {
	s := humidity("living_room_humidity")
	s.Every, s.Title = 30*time.Second, strings.Repeat("湿", 64)
	d := house("homeassistant", s)
	d.Name, d.Area = strings.Repeat("厨", 64), strings.Repeat("階", 64)
	for _, m := range d.Entities() {
		if n := len(m.Topic) + len(m.Payload); n > 1400 {
			t.Errorf("%s: %d bytes", m.Topic, n)
		}
	}
}
