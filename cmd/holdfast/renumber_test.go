package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A stream of a sensor that becomes the stream of an output, and the reverse, is still the
// same stream: a program that stores readings takes two with the same number for one.
func TestStreamMovedToAnOutputKeepsItsNumbers(t *testing.T) {
	t.Parallel()
	const sensor = "  pump: {kind: simulated, steps: {states: [closed, open], every: 100ms}}\n"
	const output = "outputs:\n  pump: {kind: simulated, max_on: 1m}\n"
	a := newAgent(t, `client_id: store
mqtt: {server: "mqtt://127.0.0.1:1"}
queue: {path: %DIR%/queue.db}
sensors:
  other: {kind: simulated, counter: {}, every: 1s}
`+sensor)
	a.start()
	waits := func(n int) {
		t.Helper()
		eventually(t, time.Minute, fmt.Sprint(n, " readings of the pump"), func() bool {
			s, ok := a.status()
			return ok && s.Queue.Backlog >= n
		})
	}
	waits(10)
	a.reload(func(text string) string { return strings.Replace(text, sensor, output, 1) })
	waits(12)
	a.reload(func(text string) string { return strings.Replace(text, output, sensor, 1) })
	waits(30)
	a.stop()
	text, err := a.exported()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		var r struct {
			Boot, Stream string
			Seq          uint64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err, line)
		}
		if r.Stream != "pump" {
			continue
		}
		key := fmt.Sprint(r.Boot, r.Seq)
		if seen[key] {
			t.Errorf("a second reading of pump has number %d of boot %s", r.Seq, r.Boot)
		}
		seen[key] = true
	}
	if len(seen) < 10 {
		t.Errorf("%d readings of the pump:\n%s", len(seen), text)
	}
}
