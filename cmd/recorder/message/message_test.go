package message

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

func decode(topic, text string) (any, error) { return Decode(topic, []byte(text), len(text), false) }

// show prints what was decoded, so that NaN equals NaN.
func show(v any, err error) string { return fmt.Sprintf("%+v %v", v, err) }

func TestReadingsAreDecoded(t *testing.T) {
	none := math.NaN()
	for text, want := range map[string]Reading{
		`{"ts":1763640000123,"boot":"17-9f3c02ab","seq":41,"value":45.2,"unit":"%"}`: {
			Key: Key{"17-9f3c02ab", 41}, TS: 1763640000123, Value: 45.2, Unit: "%"},
		`{"ts":1763640002123,"boot":"17-9f3c02ab","seq":7,"value":1,"state":"open"}`: {
			Key: Key{"17-9f3c02ab", 7}, TS: 1763640002123, Value: 1, State: "open"},
		`{"ts":5,"boot":"16-5","seq":30,"value":44,"unit":"%","historical":true,"clock":"estimated"}`: {
			Key: Key{"16-5", 30}, TS: 5, Value: 44, Unit: "%", Historical: true, Clock: "estimated"},
		`{"ts":5,"boot":"16-5","seq":30,"value":null,"error":"no acknowledge"}`: {
			Key: Key{"16-5", 30}, TS: 5, Value: none, Error: "no acknowledge"},
		`21.5`:                            {TS: NoTime, Value: 21.5},
		` -3e2 `:                          {TS: NoTime, Value: -300},
		`"7"`:                             {TS: NoTime, Value: 7},
		`ON`:                              {TS: NoTime, Value: none, State: "ON"},
		`unavailable`:                     {TS: NoTime, Value: none, State: "unavailable"},
		`{"value":3}`:                     {TS: NoTime, Value: 3},
		`{"value":true,"battery":90}`:     {TS: NoTime, Value: 1},
		`{"value":"wet","ts":9.0}`:        {TS: 9, Value: none, State: "wet"},
		`{"value":"a'; DROP TABLE x;--"}`: {TS: NoTime, Value: none, State: "a'; DROP TABLE x;--"},
	} {
		want.Device, want.Stream = "porch", "hum"
		if got := show(decode("porch/hum", text)); got != show(want, nil) {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, show(want, nil))
		}
	}
}

func TestBadMessagesHaveTheirReason(t *testing.T) {
	for _, c := range []struct{ topic, text, reason string }{
		{"porch/hum", ``, "value"},
		{"porch/hum", `nan`, "value"},
		{"porch/hum", `-Inf`, "value"},
		{"porch/hum", `null`, "value"},
		{"porch/hum", `[1,2]`, "value"},
		{"porch/hum", "\x00\x01", "value"},
		{"porch/hum", `1e999`, "value"},
		{"porch/hum", `{"value":`, "json"},
		{"porch/hum", `{"value":1} {"value":2}`, "json"},
		{"porch/hum", `{"temperature":1}`, "value"},
		{"porch/hum", `{"value":{"a":1}}`, "value"},
		{"porch/hum", `{"ts":5,"boot":"1-a","value":1}`, "key"},
		{"porch/hum", `{"ts":5,"boot":"1-a","seq":0,"value":1}`, "key"},
		{"porch/hum", `{"ts":5,"boot":"1-a","seq":1.5,"value":1}`, "key"},
		{"porch/hum", `{"ts":5,"boot":"1-a","seq":9223372036854775808,"value":1}`, "key"},
		{"porch/hum", `{"ts":-5,"boot":"1-a","seq":1,"value":1}`, "time"},
		{"porch/hum", `{"boot":"1-a","seq":1,"value":1}`, "time"},
		{"porch/hum", `{"ts":5,"boot":"1-a","seq":1,"value":null}`, "value"},
		{"porch/hum", strings.Repeat("9", MaxPayload+1), "size"},
		{"porch/agent", `1`, "name"},
		{"agent/hum", `1`, "name"},
		{"/hum", `1`, "name"},
		{"porch/" + strings.Repeat("x", 65), `1`, "name"},
		{"porch/a\nb", `1`, "name"},
		{"a/b/c/d", `1`, "name"},
		{"porch/agent/event", `{"event":"gap"}`, "key"},
		{"porch/agent/event", `{"ts":1,"boot":"1-a","seq":1,"event":"gap",` +
			`"stream":"s","from":2,"to":1,"count":1}`, "value"},
	} {
		_, err := decode(c.topic, c.text)
		var bad *BadError
		if !errors.As(err, &bad) || bad.Reason != c.reason {
			t.Errorf("%s %.60q: got %v, want %s", c.topic, c.text, err, c.reason)
		}
	}
}

func TestAgentTopicsAreDecoded(t *testing.T) {
	gap := `{"ts":5,"start":"17-9f","seq":3,"event":"gap","stream":"hum",` +
		`"boot":"16-5","from":100,"to":899,"count":400,"why":"thinned"}`
	got, err := decode("porch/agent/event", gap)
	e, ok := got.(Event)
	if err != nil || !ok || e.Key != (Key{"17-9f", 3}) || *e.Gap != (Gap{"hum", "16-5", 100, 899, 400, "thinned"}) {
		t.Errorf("got %+v %v", got, err)
	}
	for topic, want := range map[string]any{
		"porch/agent/status online":                          Presence{"porch", true, false},
		`porch/agent/info {"boot":"1-a","version":"1.0"}`:    Birth{"porch", "1-a", "1.0", "", false},
		`porch/agent/health {"ts":9,"backlog":4,"oldest":2}`: Health{Device: "porch", TS: 9, Backlog: 4, Oldest: 2},
		"porch/agent/canary x":                               Ignored{},
		"porch/agent/info ":                                  Ignored{},
	} {
		at, text, _ := strings.Cut(topic, " ")
		if got := show(decode(at, text)); got != show(want, nil) {
			t.Errorf("%s: got %s", topic, got)
		}
	}
}

// TestAgentPayloadsAreDecoded encodes with the agent's code.
func TestAgentPayloadsAreDecoded(t *testing.T) {
	r := sensors.Reading{Stream: "hum", Seq: 41, Value: 45.2, Unit: "°C",
		At: clock.Stamp{Unix: 99, Clock: clock.Estimated}}
	text := payload.AppendReading(nil, r, "17-9f3c02ab", true)
	want := Reading{Device: "porch", Stream: "hum", Key: Key{"17-9f3c02ab", 41}, TS: 99, Value: 45.2, Unit: "°C",
		Clock: "estimated", Historical: true}
	if got := show(decode("porch/hum", string(text))); got != show(want, nil) {
		t.Errorf("%s: got %s", text, got)
	}
	it := queue.Item{Boot: "17-9f3c02ab", Event: "gap",
		Details: `{"stream":"hum","boot":"16-5","from":1,"to":2,"count":2,"why":"dropped"}`}
	it.Seq, it.At.Unix = 8, 7
	got, err := decode("porch/agent/event", string(payload.Append(nil, it, false)))
	e, ok := got.(Event)
	if err != nil || !ok || e.Key != (Key{"17-9f3c02ab", 8}) || e.Gap == nil || e.Gap.Boot != "16-5" {
		t.Errorf("got %+v %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("porch/hum", []byte(`{"ts":1763640000123,"boot":"17-9f3c02ab","seq":41,"value":45.2,"unit":"%"}`))
	f.Add("porch/hum", []byte(`21.5`))
	f.Add("porch/agent/event", []byte(`{"ts":5,"start":"1-a","seq":3,"event":"gap","stream":"h",`+
		`"boot":"1-b","from":1,"to":2,"count":1}`))
	f.Add("porch/agent/health", []byte(`{"ts":9,"faults":["a"]}`))
	f.Fuzz(func(t *testing.T, topic string, text []byte) {
		got, err := Decode(topic, text, len(text), false)
		var bad *BadError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("an error without a reason: %v", err)
		}
		r, ok := got.(Reading)
		if err != nil || !ok {
			return
		}
		switch {
		case (r.Boot == "") != (r.Seq == 0), r.Seq < 0:
			t.Errorf("half a key: %+v", r)
		case math.IsInf(r.Value, 0), math.IsNaN(r.Value) && r.State == "" && r.Error == "" && r.Boot != "":
			t.Errorf("no value: %+v", r)
		case strings.ContainsRune(r.State+r.Unit+r.Error+r.Boot+r.Device+r.Stream, 0):
			t.Errorf("a text that PostgreSQL refuses: %+v", r)
		}
	})
}
