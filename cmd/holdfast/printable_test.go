package main

import (
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// evil clears the screen, sets the title, reverses the text direction and breaks the line.
const evil = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202edoor\nfake  line\r"

// The queue file comes from an unknown source.
func TestAForeignQueueIsPrintedSafely(t *testing.T) {
	opt := queue.Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 1 << 20, SyncEvery: 5 * time.Second,
		Clock: clock.NewTimekeeper(clock.TrustAuto)}
	q, err := queue.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := opt.Clock.Now()
	q.Put(sensors.Reading{Stream: evil, Seq: 1, At: at, Unit: evil, Value: 1})
	q.Put(sensors.Reading{Stream: "a", Seq: 1, At: at, State: evil, Value: 1})
	q.Put(sensors.Reading{Stream: "b", Seq: 1, At: at, Err: evil})
	q.Report(sensors.Event{Name: "fault", At: at, Details: json.RawMessage(`{"why":"` + "\u009b31m\u202e" + `"}`)})
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"stats", "peek", "export"} {
		out, errs := holdfast(t, "queue", "-file", opt.Path, verb)
		for _, r := range out + errs {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%s prints %U:\n%q", verb, r, out)
			}
		}
		if !strings.Contains(out, "door") && verb != "stats" || strings.Contains(out, "\nfake") {
			t.Errorf("%s: got\n%s", verb, out)
		}
		for line := range strings.Lines(out) {
			if verb == "export" && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	}
}
