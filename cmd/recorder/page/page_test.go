package page

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/web"
	"github.com/holdfast-iot/holdfast/config"
)

// start is the time of the first reading: the begin of an hour.
const start = int64(1_763_640_000_000)

const goodToken = "0123456789abcdef"

// recorded returns a server of a database with ten readings of porch/hum, one each
// second, of which the numbers 4 to 6 are missing and the last two came late.
func recorded(t *testing.T, token string) *server {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: "sqlite:" + filepath.Join(t.TempDir(), "h.db"),
		Unknown: "accept", MaxQuarantine: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var items []store.Item
	for seq := int64(1); seq <= 10; seq++ {
		if seq >= 4 && seq <= 6 {
			continue
		}
		at := start + seq*1000
		items = append(items, item(t, at, "porch/hum", fmt.Sprintf(
			`{"ts":%d,"boot":"1-a","seq":%d,"value":%d,"unit":"%%","historical":%v}`, at, seq, seq, seq > 8)))
	}
	items = append(items,
		item(t, start+3000, "porch/hum_alarm",
			fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":1,"value":1,"state":"alarm"}`, start+3000)),
		item(t, start+9000, "porch/hum_alarm",
			fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":2,"value":0,"state":"ok"}`, start+9000)),
		item(t, start+5000, "porch/agent/event", fmt.Sprintf(
			`{"ts":%d,"boot":"1-a","seq":1,"event":"fault","stream":"hum","error":"no acknowledge"}`, start+5000)))
	items = append(items, item(t, start, "porch/door", "open"),
		item(t, start, "shed/temp", `{"value":null,"error":"read failed"}`))
	if _, err := s.Commit(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	return newServer(s, web.NewAccess(&config.Status{Listen: "127.0.0.1:8081"}, web.Secrets{Token: token}),
		slog.New(slog.DiscardHandler))
}

// ask returns the answer to a GET, or another method in front of the path.
func ask(s http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	method, path, found := strings.Cut(path, " ")
	if !found {
		method, path = http.MethodGet, method
	}
	r := httptest.NewRequest(method, path, nil)
	r.Host = "localhost:8081"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// decoded returns the body of an answer, which must be a success.
func decoded[T any](t *testing.T, s *server, path string) (body T) {
	t.Helper()
	w := ask(s, path)
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return body
}

func TestFleetHasEachDevice(t *testing.T) {
	got := decoded[struct{ Devices []device }](t, recorded(t, ""), "/api/fleet").Devices
	if len(got) != 2 || got[0].Device != "porch" || got[0].Streams != 3 || got[0].Missing != 3 || got[0].Online != nil ||
		*got[0].LastAt != start+10_000 || fmt.Sprintf("%q", got[0].Faults) != "[]" || got[1].Device != "shed" {
		t.Errorf("got %+v", got)
	}
}

func TestStreamsHaveTheirNewestReading(t *testing.T) {
	s := recorded(t, "")
	got := decoded[struct{ Streams []stream }](t, s, "/api/devices/porch/streams").Streams
	if len(got) != 3 || got[0].Stream != "door" || *got[0].Last.State != "open" || got[0].Last.Value != nil ||
		got[1].Stream != "hum" || *got[1].Last.Value != 10 || *got[1].Last.Unit != "%" || !got[1].Last.Late {
		t.Errorf("got %+v", got)
	}
	got = decoded[struct{ Streams []stream }](t, s, "/api/devices/shed/streams").Streams
	if len(got) != 1 || got[0].Last.Value != nil || *got[0].Last.Error != "read failed" {
		t.Errorf("got %+v", got)
	}
}

func TestStreamHasBucketsLateReadingsAndGaps(t *testing.T) {
	s := recorded(t, "")
	path := fmt.Sprintf("/api/devices/porch/streams/hum?from=%d&to=%d&buckets=4", start, start+20_000)
	got := decoded[series](t, s, path)
	if got.Width != 5000 || len(got.Buckets) != 3 {
		t.Fatalf("got %+v", got)
	}
	for i, want := range []string{"0 3 1 3 2 0", "5000 3 7 9 8 1", "10000 1 10 10 10 1"} {
		b := got.Buckets[i]
		text := fmt.Sprint(b.TS-start, b.Count, *b.Min, *b.Max, *b.Mean, *b.Late)
		if text != want {
			t.Errorf("bucket %d: %s, want %s", i, text, want)
		}
	}
	want := gap{Begin: start + 3000, End: start + 7000, Boot: "1-a", FromSeq: 4, ToSeq: 6, Count: 3, State: "missing"}
	if len(got.Gaps) != 1 || got.Gaps[0] != want || got.MoreGaps {
		t.Errorf("gaps %+v", got.Gaps)
	}
	if len(got.Alarms) != 2 || got.Alarms[0] != (alarm{start + 3000, "alarm"}) || got.Alarms[1].State != "ok" {
		t.Errorf("alarms %+v", got.Alarms)
	}
	// The same times in RFC 3339, and after the gap.
	text := time.UnixMilli(start + 8000).UTC().Format(time.RFC3339)
	got = decoded[series](t, s, "/api/devices/porch/streams/hum?from="+text+"&to="+fmt.Sprint(start+9000))
	// An alarm that began before the range.
	if len(got.Gaps) != 0 || len(got.Buckets) != 1 || *got.Buckets[0].Mean != 8 || len(got.Alarms) != 1 ||
		got.Alarms[0].TS != start+3000 {
		t.Errorf("got %+v", got)
	}
}

func TestEventsAreThoseOfTheRange(t *testing.T) {
	s := recorded(t, "")
	path := fmt.Sprintf("/api/devices/porch/events?from=%d&to=%d", start, start+20_000)
	got := decoded[struct{ Events []event }](t, s, path).Events
	var details struct{ Stream string }
	if len(got) != 1 || got[0].Event != "fault" || got[0].TS != start+5000 ||
		json.Unmarshal(got[0].Details, &details) != nil || details.Stream != "hum" {
		t.Errorf("got %+v", got)
	}
	path = fmt.Sprintf("/api/devices/porch/events?from=%d", start+6000)
	if got := decoded[struct{ Events []event }](t, s, path).Events; len(got) != 0 {
		t.Errorf("outside of the range: %+v", got)
	}
}

func TestHoursAreReadFromTheRollups(t *testing.T) {
	s := recorded(t, "")
	if _, err := s.store.RollUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	const hour = int64(3_600_000)
	path := fmt.Sprintf("/api/devices/porch/streams/hum?from=%d&to=%d&buckets=2000", start-400*hour, start+hour)
	got := decoded[series](t, s, path)
	if got.Width != hour || len(got.Buckets) != 1 || got.Buckets[0].Count != 7 || got.Buckets[0].Late != nil {
		t.Errorf("got %+v", got)
	}
}

func TestMistakesNameTheParameter(t *testing.T) {
	s := recorded(t, "")
	const hum = "/api/devices/porch/streams/hum"
	for path, want := range map[string]string{
		hum + "?from=yesterday":                    "400 from",
		hum + "?from=-1":                           "400 from",
		hum + "?from=":                             "400 from",
		hum + "?to=9999999999999999999":            "400 to",
		hum + "?from=2000&to=1000":                 "400 from",
		hum + "?from=0&to=1763640000000":           "400 from",
		hum + "?buckets=0":                         "400 buckets",
		hum + "?buckets=2001":                      "400 buckets",
		hum + "?bucket=5":                          "400 bucket",
		hum + "?to=1&to=2":                         "400 to",
		"/api/fleet?x=1":                           "400 x",
		"/api/devices/porch/streams?x=1":           "400 x",
		"/api/devices/none/streams":                "404 ",
		"/api/devices/none/events":                 "404 ",
		"/api/devices/porch/events?buckets=4":      "400 buckets",
		"/api/devices/porch/streams/none":          "404 ",
		"/api/devices/porch'%20OR%201=1--/streams": "404 ",
		"/api/":           "404 ",
		"POST /api/fleet": "405 ",
		"DELETE " + hum:   "405 ",
	} {
		w := ask(s, path)
		var f failure
		err := json.Unmarshal(w.Body.Bytes(), &f)
		if got := fmt.Sprint(w.Code, " ", f.Parameter); err != nil || got != want || f.Error == "" {
			t.Errorf("%s: %q, want %q: %s", path, got, want, w.Body)
		}
	}
}

func TestRequestsWithoutAccessAreRefused(t *testing.T) {
	s := recorded(t, goodToken)
	for _, c := range []struct {
		code    int
		headers []string
	}{
		{200, []string{"Authorization", "Bearer " + goodToken}},
		{401, nil},
		{401, []string{"Authorization", "Bearer wrong"}},
		{403, []string{"Authorization", "Bearer " + goodToken, "Origin", "http://evil.example"}},
		{403, []string{"Authorization", "Bearer " + goodToken, "Sec-Fetch-Site", "cross-site"}},
	} {
		for _, path := range []string{"/api/fleet", descriptionPath} {
			w := ask(s, path, c.headers...)
			h := w.Header()
			if w.Code != c.code || h.Get("Content-Security-Policy") != policy ||
				h.Get("X-Content-Type-Options") != "nosniff" || c.code != 200 && strings.Contains(w.Body.String(), "porch") {
				t.Errorf("%s %v: %d, want %d: %v", path, c.headers, w.Code, c.code, h)
			}
		}
	}
}

func TestBucketWidthKeepsTheBounds(t *testing.T) {
	for length := time.Millisecond; length <= maxRange; length = length*7/3 + time.Millisecond {
		for _, n := range []int{1, 3, defaultBuckets, maxBuckets} {
			w := width(length, n)
			if got := (length + w - 1) / w; int(got) > n || w < time.Hour && length > maxRaw {
				t.Errorf("%v in %d: %d buckets of %v", length, n, got, w)
			}
		}
	}
	for _, w := range widths {
		if w < time.Hour && time.Hour%w != 0 || w > time.Hour && w%time.Hour != 0 {
			t.Errorf("%v does not fit to hours", w)
		}
	}
}

// A described has the parts of openapi.json that the tests use.
type described struct {
	Paths map[string]map[string]struct {
		Parameters []struct{ Name, In string }
		Responses  map[string]struct {
			Content map[string]struct{ Schema reference }
		}
	}
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct {
				reference
				Items reference
				OneOf []reference
			}
			Required []string
		}
	}
}

type reference struct {
	Ref string `json:"$ref"`
}

func description(t *testing.T, s *server) (d described) {
	t.Helper()
	if err := json.Unmarshal(ask(s, descriptionPath).Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOpenAPIHasTheServedPaths(t *testing.T) {
	s := recorded(t, "")
	d := description(t, s)
	served := []string{descriptionPath}
	for path := range routes {
		served = append(served, path)
	}
	for _, path := range served {
		if len(d.Paths[path]) != 1 || len(d.Paths[path]["get"].Responses) == 0 {
			t.Errorf("%s is not described as a path with GET alone", path)
		}
	}
	for path := range d.Paths {
		if !slices.Contains(served, path) {
			t.Errorf("%s is described, and not served", path)
		}
		w := ask(s, strings.NewReplacer("{device}", "porch", "{stream}", "hum").Replace(path))
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		for _, p := range d.Paths[path]["get"].Parameters {
			if p.In == "query" && (query{p.Name: {"1"}}).checkNames("from", "to", "buckets") != nil {
				t.Errorf("%s: %s is described, and not accepted", path, p.Name)
			}
		}
	}
}

// TestAnswersHaveTheFieldsOfOpenAPI compares the names of all fields, down to the
// last one.
func TestAnswersHaveTheFieldsOfOpenAPI(t *testing.T) {
	s := recorded(t, "")
	d := description(t, s)
	seen := map[string]bool{}
	var compare func(schema string, value any)
	compare = func(ref string, value any) {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		if list, ok := value.([]any); ok {
			for _, one := range list {
				compare(ref, one)
			}
			return
		}
		fields, ok := value.(map[string]any)
		if !ok || ref == "" {
			return
		}
		seen[name] = true
		schema := d.Components.Schemas[name]
		for field, v := range fields {
			p, ok := schema.Properties[field]
			if !ok {
				t.Errorf("%s has a field %s, which is not described", name, field)
			}
			inner := p.Ref + p.Items.Ref
			if len(p.OneOf) > 0 {
				inner += p.OneOf[0].Ref
			}
			compare(inner, v)
		}
		for _, field := range schema.Required {
			if _, ok := fields[field]; !ok {
				t.Errorf("%s lacks %s", name, field)
			}
		}
	}
	for path, of := range d.Paths {
		ref := of["get"].Responses["200"].Content["application/json"].Schema.Ref
		if ref == "" {
			continue // the description itself
		}
		path = strings.NewReplacer("{device}", "porch", "{stream}", "hum").Replace(path)
		if strings.HasSuffix(path, "/hum") || strings.HasSuffix(path, "/events") {
			path += fmt.Sprintf("?from=%d&to=%d", start, start+20_000)
		}
		compare(ref, decoded[any](t, s, path))
	}
	compare("Error", decodedFailure(t, s))
	for name := range d.Components.Schemas {
		if !seen[name] {
			t.Errorf("no answer has a %s", name)
		}
	}
}

func decodedFailure(t *testing.T, s *server) (body any) {
	t.Helper()
	if err := json.Unmarshal(ask(s, "/api/fleet?x=1").Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestOpenAPIIsCached(t *testing.T) {
	s := recorded(t, "")
	tag := ask(s, descriptionPath).Header().Get("ETag")
	if w := ask(s, descriptionPath, "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified ||
		w.Body.Len() != 0 {
		t.Errorf("tag %q: %d, %d bytes", tag, w.Code, w.Body.Len())
	}
}

func TestPageLoadsNothingFromOtherServers(t *testing.T) {
	s := recorded(t, "")
	for path, kind := range map[string]string{"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css",
		"/uplot/uPlot.iife.min.js": "text/javascript", "/uplot/uPlot.min.css": "text/css",
		"/uplot/LICENSE": "text/plain"} {
		w := ask(s, path)
		body := strings.ReplaceAll(w.Body.String(), "https://github.com/leeoniya/uPlot", "") // in a comment
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if path != "/uplot/LICENSE" && strings.Contains(body, "://") {
			t.Errorf("%s has an address of another site", path)
		}
	}
	// The licence requires that its text is included.
	if w := ask(s, "/uplot/LICENSE"); !strings.Contains(w.Body.String(), "Leon Sorokin") {
		t.Errorf("the licence of uPlot: %.100q", w.Body)
	}
}

// TestServeAnswersUntilItIsStopped uses a real socket, like `run`.
func TestServeAnswersUntilItIsStopped(t *testing.T) {
	st := recorded(t, "").store
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	url, done := make(chan string, 1), make(chan error, 1)
	opt := &config.Status{Listen: "127.0.0.1:0", Listening: func(at string) { url <- at }}
	go func() { done <- Serve(ctx, opt, st, slog.New(slog.DiscardHandler)) }()
	r, err := http.Get(<-url + "api/fleet")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(body), `"porch"`) {
		t.Errorf("%s %v", body, err)
	}
	stop()
	if err := <-done; err == nil {
		t.Error("Serve returned no error")
	}
}

// item returns the item of a message, as package ingest makes it.
func item(t *testing.T, at int64, topic, payload string) store.Item {
	t.Helper()
	it := store.Item{At: at, Topic: topic, Payload: []byte(payload), Size: len(payload)}
	var err error
	if it.Message, err = message.Decode(topic, it.Payload, it.Size, false); err != nil {
		t.Fatal(err)
	}
	return it
}

// The page counts the faults of each device, so they are always a list.
func TestFaultsAreAList(t *testing.T) {
	for faults, want := range map[string]string{
		"null": "[]", "5": "[]", `"x"`: "[]", `{"a":1}`: "[]", "[1]": "[]", `[ "hum" ]`: `["hum"]`,
	} {
		s := recorded(t, "")
		health := item(t, start, "porch/agent/health", `{"ts":1,"faults":`+faults+`}`)
		if _, err := s.store.Commit(t.Context(), []store.Item{health}); err != nil {
			t.Fatal(err)
		}
		var fleet struct{ Devices []device }
		if err := json.Unmarshal(ask(s, "/api/fleet").Body.Bytes(), &fleet); err != nil {
			t.Fatal(err)
		}
		if d := fleet.Devices[0]; d.Device != "porch" || fmt.Sprintf("%q", d.Faults) != want {
			t.Errorf("%s: %s %s, want %s", faults, d.Device, d.Faults, want)
		}
	}
}

// An event may have 64 KiB: a thousand of them are more than the recorder's memory.
func TestEventsAreBoundedInBytes(t *testing.T) {
	s := recorded(t, "")
	var items []store.Item
	text := strings.Repeat("x", 60<<10)
	for seq := range int64(100) {
		items = append(items, item(t, start, "porch/agent/event", fmt.Sprintf(
			`{"ts":%d,"boot":"2-b","seq":%d,"event":"fault","error":%q}`, start+seq, seq+1, text)))
	}
	if _, err := s.store.Commit(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/api/devices/porch/events?from=%d&to=%d", start, start+60_000)
	got := decoded[struct {
		Events []event
		More   bool `json:"more_events"`
	}](t, s, path)
	if n := len(got.Events); n == 0 || n > 20 || !got.More || got.Events[0].TS != start+5000 {
		t.Errorf("%d events, more: %v", n, got.More)
	}
}
