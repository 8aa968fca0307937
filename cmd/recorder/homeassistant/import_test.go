package homeassistant

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

// day is the begin of a day, and of an hour.
var day = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

// A fake is a Home Assistant that checks what it gets against the documentation: the page
// "WebSocket API", and for statistics "Changes to the recorder statistics API"
// (2025-10-16), as 2026.11 demands it. It keeps what was imported.
type fake struct {
	t      *testing.T
	mu     sync.Mutex // guards the fields below
	lastID int
	hours  map[string]map[string]hour // by statistic and start
	count  int                        // imported hours, repeated ones included
}

const goodToken = "eyJ0eXAi"

const registry = `[
 {"entity_id":"sensor.porch_humidity","unique_id":"porch/hum","platform":"mqtt","name":null,"disabled_by":null},
 {"entity_id":"sensor.porch_energy","unique_id":"porch/energy","platform":"mqtt"},
 {"entity_id":"sensor.porch_text","unique_id":"porch/text","platform":"mqtt"},
 {"entity_id":"sensor.porch_temp","unique_id":"porch/temp","platform":"mqtt"},
 {"entity_id":"binary_sensor.porch_door","unique_id":"porch/door","platform":"mqtt"},
 {"entity_id":"sensor.other","unique_id":"porch/wind","platform":"esphome"},
 {"entity_id":"sensor.porch_backlog","unique_id":"porch/agent/backlog","platform":"mqtt"}]`

const statistics = `[
 {"statistic_id":"sensor.porch_humidity","source":"recorder","name":null,"has_sum":false,"mean_type":1,
  "statistics_unit_of_measurement":"%","display_unit_of_measurement":"%","unit_class":"unitless"},
 {"statistic_id":"sensor.porch_energy","source":"recorder","name":null,"has_sum":true,"mean_type":0,
  "statistics_unit_of_measurement":"kWh","unit_class":"energy"},
 {"statistic_id":"sensor.porch_temp","source":"recorder","name":null,"has_sum":false,"mean_type":1,
  "statistics_unit_of_measurement":"°F","unit_class":"temperature"}]`

// serve answers one connection.
func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil || r.URL.Path != "/api/websocket" {
		f.t.Errorf("%s: %v", r.URL.Path, err)
		return
	}
	defer conn.Close()
	conn.WriteJSON(map[string]any{"type": "auth_required", "ha_version": "2026.9.0"})
	var auth map[string]any
	if conn.ReadJSON(&auth) != nil || auth["type"] != "auth" || len(auth) != 2 || auth["access_token"] != goodToken {
		conn.WriteJSON(map[string]any{"type": "auth_invalid", "message": "Invalid access token or password"})
		return
	}
	conn.WriteJSON(map[string]any{"type": "auth_ok", "ha_version": "2026.9.0"})
	f.mu.Lock()
	f.lastID = 0
	f.mu.Unlock()
	for {
		_, text, err := conn.ReadMessage()
		if err != nil {
			return
		}
		id, result, problem := f.answer(text)
		answer := map[string]any{"id": id, "type": "result", "success": problem == "", "result": result}
		if problem != "" {
			f.t.Errorf("Home Assistant refuses %s: %s", text, problem)
			answer["error"] = map[string]any{"code": "invalid_format", "message": problem}
		}
		conn.WriteJSON(answer)
	}
}

// answer handles one command. problem says why Home Assistant would refuse it.
func (f *fake) answer(text []byte) (id int, result json.RawMessage, problem string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var m map[string]json.RawMessage
	var kind string
	if json.Unmarshal(text, &m) != nil || json.Unmarshal(m["id"], &id) != nil || json.Unmarshal(m["type"], &kind) != nil {
		return id, nil, "no command"
	}
	if id <= f.lastID {
		return id, nil, "identifier values have to increase"
	}
	f.lastID = id
	switch kind {
	case "config/entity_registry/list":
		return id, json.RawMessage(registry), only(m, "id", "type")
	case "recorder/list_statistic_ids":
		return id, json.RawMessage(statistics), only(m, "id", "type")
	case "recorder/import_statistics":
		if problem := only(m, "id", "type", "metadata", "stats"); problem != "" {
			return id, nil, problem
		}
		return id, json.RawMessage("null"), f.imported(m["metadata"], m["stats"])
	}
	return id, nil, "unknown command"
}

// only says which fields are missing or unexpected.
func only(m map[string]json.RawMessage, want ...string) string {
	for name := range m {
		if !slices.Contains(want, name) {
			return "extra keys not allowed: " + name
		}
	}
	for _, name := range want {
		if m[name] == nil {
			return "required key not provided: " + name
		}
	}
	return ""
}

// imported checks and stores statistics.
func (f *fake) imported(about, stats json.RawMessage) string {
	var fields map[string]json.RawMessage
	var m statistic
	if json.Unmarshal(about, &fields) != nil || json.Unmarshal(about, &m) != nil {
		return "metadata is no object"
	}
	problem := only(fields, "statistic_id", "source", "name", "has_sum", "mean_type", "unit_class", "unit_of_measurement")
	if problem != "" {
		return problem
	}
	if m.Source != "recorder" || !strings.HasPrefix(m.ID, "sensor.") {
		return "Invalid source"
	}
	var rows []map[string]json.RawMessage
	if json.Unmarshal(stats, &rows) != nil || len(rows) == 0 || len(rows) > maxHours {
		return "stats is no list"
	}
	for _, row := range rows {
		if problem := only(row, "start", "mean", "min", "max"); problem != "" {
			return problem
		}
		text, _ := json.Marshal(row)
		var h hour
		if err := json.Unmarshal(text, &h); err != nil {
			return err.Error()
		}
		start, err := time.Parse(time.RFC3339, h.Start)
		if err != nil || !start.Equal(start.Truncate(time.Hour)) {
			return "Invalid timestamp: timestamps must be from the top of the hour"
		}
		if f.hours[m.ID] == nil {
			f.hours[m.ID] = map[string]hour{}
		}
		f.hours[m.ID][h.Start] = h
		f.count++
	}
	return ""
}

// recorded returns a store with readings of porch in the hours of day, late ones and others.
func recorded(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: "sqlite:" + filepath.Join(t.TempDir(), "h.db"),
		Unknown: "accept", MaxQuarantine: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	seq := map[string]int{}
	var batch []store.Item
	add := func(stream string, after time.Duration, rest string) {
		seq[stream]++
		payload := fmt.Appendf(nil, `{"ts":%d,"boot":"1-a","seq":%d,%s}`, day.Add(after).UnixMilli(), seq[stream], rest)
		it := store.Item{At: day.Add(48 * time.Hour).UnixMilli(), Topic: "porch/" + stream,
			Payload: payload, Size: len(payload)}
		var err error
		if it.Message, err = message.Decode(it.Topic, payload, len(payload), false); err != nil {
			t.Fatal(err)
		}
		batch = append(batch, it)
	}
	const late = `,"historical":true`
	add("hum", 10*time.Minute, `"value":40,"unit":"%"`) // in time: Home Assistant has this hour
	add("hum", 61*time.Minute, `"value":50,"unit":"%"`) // in time, and in an hour with late ones
	add("hum", 70*time.Minute, `"value":52,"unit":"%"`+late)
	add("hum", 80*time.Minute, `"value":60,"unit":"%"`+late)
	add("hum", 2*time.Hour, `"value":44,"unit":"%"`+late)
	add("hum", 3*time.Hour, `"value":null,"error":"no answer"`+late)
	add("hum", 4*time.Hour, `"value":1,"unit":"%","clock":"unsynced"`+late)
	add("hum", 5*time.Hour, `"value":45,"unit":"%"`+late) // not over for long
	for _, stream := range []string{"energy", "text", "wind", "door"} {
		add(stream, time.Hour, `"value":7,"unit":"kWh"`+late)
	}
	add("temp", time.Hour, `"value":7,"unit":"°C"`+late)
	if _, err := s.Commit(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return s
}

// start serves a fake and returns an importer for it.
func start(t *testing.T) (*fake, *Importer) {
	f := &fake{t: t, hours: map[string]map[string]hour{}}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(server.Close)
	return f, &Importer{URL: server.URL, Token: goodToken, Store: recorded(t),
		Range: store.Range{To: 1 << 60}}
}

// now is a little after the last hour of the late readings.
var now = day.Add(6*time.Hour + 5*time.Minute)

func TestLateHoursAreWrittenOnce(t *testing.T) {
	f, i := start(t)
	for round := range 2 {
		all, err := i.Run(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		outcomes := map[string]Outcome{}
		for _, o := range all {
			outcomes[o.Stream] = o
		}
		if got := outcomes["hum"]; len(all) != 6 || got.Entity != "sensor.porch_humidity" ||
			got.Hours != 2 || got.Skipped != "" {
			t.Errorf("round %d: %+v", round, all)
		}
		for stream, want := range map[string]string{"energy": "are a sum", "text": "has no statistics",
			"wind": "no sensor of MQTT discovery", "door": "no sensor of MQTT discovery",
			"temp": `in "°F", the readings in "°C"`} {
			if got := outcomes[stream]; got.Hours != 0 || !strings.Contains(got.Skipped, want) {
				t.Errorf("%s: %+v, want %q", stream, got, want)
			}
		}
	}
	want := map[string]hour{
		"2026-09-01T01:00:00Z": {"2026-09-01T01:00:00Z", 54, 50, 60},
		"2026-09-01T02:00:00Z": {"2026-09-01T02:00:00Z", 44, 44, 44},
	}
	if got := f.hours["sensor.porch_humidity"]; len(f.hours) != 1 || fmt.Sprint(got) != fmt.Sprint(want) || f.count != 4 {
		t.Errorf("Home Assistant has %v after %d hours", f.hours, f.count)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	f, i := start(t)
	i.DryRun = true
	all, err := i.Run(t.Context(), now.Add(time.Hour))
	if err != nil || f.count != 0 ||
		!slices.ContainsFunc(all, func(o Outcome) bool { return o.Stream == "hum" && o.Hours == 3 }) {
		t.Errorf("%+v %v; %d hours were written", all, err, f.count)
	}
}

func TestMistakesAreExplained(t *testing.T) {
	_, good := start(t)
	silent := httptest.NewServer(http.NotFoundHandler())
	defer silent.Close()
	for want, change := range map[string]func(*Importer){
		"it refuses the token (Invalid access token": func(i *Importer) { i.Token = "wrong" },
		"write http:// or https://":                  func(i *Importer) { i.URL = "ftp://ha" },
		"is not an address":                          func(i *Importer) { i.URL = "homeassistant" },
		"bad handshake":                              func(i *Importer) { i.URL = silent.URL },
	} {
		i := *good
		change(&i)
		if all, err := i.Run(t.Context(), now); err == nil || len(all) != 0 || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v %v, want %q", all, err, want)
		}
	}
}

func TestAnAddressMayHaveAPath(t *testing.T) {
	for address, want := range map[string]string{
		"http://ha:8123":                 "ws://ha:8123/api/websocket",
		"https://home.example.com/":      "wss://home.example.com/api/websocket",
		"https://example.com/ha":         "wss://example.com/ha/api/websocket",
		"ws://supervisor/core/websocket": "ws://supervisor/core/websocket",
		"wss://ha/api/websocket":         "wss://ha/api/websocket",
	} {
		if got, err := socketURL(address); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", address, got, err, want)
		}
	}
}
