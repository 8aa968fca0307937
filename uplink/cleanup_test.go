package uplink

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// house is an agent with streams, announced under a prefix if there is one.
func house(prefix string, streams ...sensors.Stream) Options {
	return Options{Broker: mqtt.Broker{ClientID: "store-12"}, Topics: payload.DefaultPatterns, Streams: streams,
		Version:       "1.0",
		HomeAssistant: HomeAssistant{Discovery: prefix != "", Prefix: prefix}}
}

func contact(name string) sensors.Stream {
	return sensors.Stream{Name: name, Quantity: sensors.Quantity{States: []string{"closed", "open"}}}
}

func humidity(name string) sensors.Stream {
	return sensors.Stream{Name: name, Quantity: sensors.Quantity{Unit: "%", Class: "humidity"}}
}

// cleared are the topics of messages; an announcement adds what it removes.
func cleared(t *testing.T, msgs []mqtt.Message) (all []string) {
	t.Helper()
	for _, m := range msgs {
		if !m.Retain {
			t.Errorf("%s is not retained: it clears nothing", m.Topic)
		}
		if len(m.Payload) == 0 {
			all = append(all, m.Topic)
			continue
		}
		var a struct {
			Components map[string]struct {
				Platform string `json:"platform"`
				UniqueID string `json:"unique_id"`
			} `json:"components"`
		}
		if err := json.Unmarshal(m.Payload, &a); err != nil {
			t.Fatal(err)
		}
		var gone []string
		for name, c := range a.Components {
			if c.UniqueID == "" {
				gone = append(gone, fmt.Sprintf("%s %s", c.Platform, name))
			}
		}
		slices.Sort(gone)
		all = append(all, m.Topic+" without "+strings.Join(gone, ", "))
	}
	return all
}

func TestTopicsNotConfiguredAnyMoreAreCleared(t *testing.T) {
	moved := house("", contact("door"), humidity("hum"))
	moved.Topics = payload.Patterns{Reading: "{client_id}/{stream}/history", State: "{client_id}/{stream}"}
	for _, c := range []struct {
		what     string
		was, now Options
		want     []string
	}{
		{"nothing changed", house("ha", contact("door")), house("ha", contact("door")), nil},
		{"a sensor is new", house("ha", contact("door")), house("ha", contact("door"), humidity("hum")), nil},
		{"a sensor went, nobody was told of it", house("", contact("door"), humidity("hum")),
			house("", contact("door")),
			[]string{"store-12/hum/state"}},
		{"a sensor went", house("ha", contact("door"), humidity("hum")), house("ha", contact("door")),
			[]string{"ha/device/store-12/config without sensor hum", "store-12/hum/state"}},
		{"a sensor became another", house("ha", contact("door"), humidity("x")), house("ha", contact("door"),
			contact("x")),
			[]string{"ha/device/store-12/config without sensor x"}},
		{"no longer announced", house("ha", contact("door")), house("", contact("door")),
			[]string{"ha/device/store-12/config"}},
		{"announced elsewhere", house("ha", contact("door")), house("homeassistant", contact("door")),
			[]string{"ha/device/store-12/config"}},
		{"announced now", house("", contact("door")), house("ha", contact("door")), nil},
		{"the topics moved", house("", contact("door"), humidity("hum")), moved, []string{"store-12/door/state",
			"store-12/hum/state"}},
		{"the topics moved back", moved, house("", contact("door"), humidity("hum")),
			[]string{"store-12/door", "store-12/hum"}},
	} {
		if got := cleared(t, cleanup(birthOf(c.was).json(), c.now)); !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.what, got, c.want)
		}
	}
}

// Who may publish on our agent/info must not have us clear what is not ours.
func TestNothingButOurOwnTopicsIsCleared(t *testing.T) {
	now := house("ha", contact("door"))
	for _, previous := range []string{
		"", "null", "[]", "{", `"x"`, `{"streams":null}`, `{"streams":{"a/b":{},"+":{},"#":{},"":{}}}`,
		`{"topics":{"state":"other/{stream}"},"streams":{"x":{}}}`,
		`{"topics":{"state":"{client_id}/state"},"streams":{"x":{}}}`,
		`{"topics":{"state":"+/{client_id}/{stream}"},"streams":{"x":{}}}`,
		`{"topics":{"state":"{client_id}/agent/{stream}"},"streams":{"status":{}}}`,
		`{"topics":{"state":""},"streams":{"x":{}}}`,
		`{"topics":{"state":"$SYS/{client_id}/{stream}"},"streams":{"x":{}}}`,
		`{"discovery":"+","streams":{}}`, `{"discovery":"$SYS","streams":{}}`,
		`{"discovery":"ha","streams":{"x":{"platform":"light"}},"topics":{"state":"#"}}`,
	} {
		if got := cleared(t, cleanup([]byte(previous), now)); got != nil {
			t.Errorf("%s: %q", previous, got)
		}
	}
}

func FuzzCleanupClearsOnlyWhatIsOurs(f *testing.F) {
	f.Add(birthOf(house("ha", contact("door"), humidity("hum"))).json())
	f.Add([]byte(`{"topics":{"state":"{client_id}/{stream}/x"},"discovery":"y",` +
		`"streams":{"agent":{"platform":"sensor"}}}`))
	now := house("ha", contact("door"))
	f.Fuzz(func(t *testing.T, previous []byte) {
		for _, m := range cleanup(previous, now) {
			if !strings.Contains(m.Topic, "store-12") || strings.ContainsAny(m.Topic, "+#\x00") ||
				m.Topic == "store-12/door/state" || strings.HasPrefix(m.Topic, "store-12/agent/") {
				t.Errorf("%q clears %q", previous, m.Topic)
			}
		}
	})
}
