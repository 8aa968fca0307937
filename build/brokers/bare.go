package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// bareID is the client ID of an agent with plain payloads, as in tutorials.
const bareID = "123456"

// newBare prepares an agent for back ends that store the payload unchanged. All streams
// except door count; late readings of the stream live are not sent.
func (r *readers) newBare(address string) (*agent, error) {
	a, err := newAgent(r.server, bareID, bareID, address, password)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`client_id: %s
mqtt: {server: mqtts://%s, username: %q, password_file: %s, tls: {ca: %s}, keepalive: 5s}
queue: {path: %s}
payload: plain
plain: {history: true}
sensors:
  hum: {kind: simulated, counter: {}, every: 500ms}
  live: {kind: simulated, counter: {}, every: 500ms, plain: {history: false}}
  bell: {kind: simulated, counter: {}, every: 900ms, alarm: true}
  door: {kind: simulated, steps: {states: [closed, open], every: 700ms}, alarm: true}
`, bareID, address, r.server.kind.userName(), a.passwordFile(), r.place.ca.caFile, filepath.Join(a.dir, "queue.db"))
	return a, os.WriteFile(a.config(), []byte(text), 0o600)
}

// bareValues: the back end without knowledge of holdfast has every reading of hum and bell,
// those of live that were not late, and nothing else. The number of states of door is
// unknown, because the broker may deliver some twice.
func (r *readers) bareValues(ctx context.Context) {
	r.awaitBare(ctx)
	rows, err := r.bareRows(ctx)
	if err != nil {
		r.report.check(false, "consumers: what Django has stored as it is: %v", err)
		return
	}
	var odd []string
	for stream, payloads := range rows {
		for _, p := range payloads {
			if !isBare(stream, p) {
				odd = append(odd, stream+"="+p)
			}
		}
	}
	r.report.check(len(odd) == 0, "consumers: Django as it is has bare values and words alone: %d others %.200q",
		len(odd), odd)
	r.report.check(len(rows["door"]) > 0, "consumers: it has words of door: %d", len(rows["door"]))
	for _, stream := range []string{"hum", "bell"} {
		missing, of := holes(rows[stream])
		r.report.check(missing == 0 && of > 0, "consumers: it has every value of %s: %d of %d missing", stream, missing, of)
	}
	live, of := holes(rows["live"])
	skipped := r.skipped()
	r.report.check(live > 0 && live <= skipped, "consumers: of live it has those that were not late: %d of %d "+
		"missing, the event says %d", live, of, skipped)
}

// awaitBare waits until the back end has the last readings of the agent, and stops the
// agent.
func (r *readers) awaitBare(ctx context.Context) {
	lastOf := func(stream string) string {
		return fmt.Sprintf("%s %s %s\n", bareID, stream, r.ledger.payload(bareID+"/"+stream))
	}
	for _, c := range r.all {
		if c.of != bareID {
			continue
		}
		if err := eventually(ctx, patience, c.name+" has the last ones", func() bool {
			out := c.out.String()
			return strings.Contains(out, lastOf("hum")) && strings.Contains(out, lastOf("bell"))
		}); err != nil {
			r.report.check(false, "consumers: %v", err)
		}
		c.close()
	}
}

// isBare reports whether a payload is a valid value of a stream.
func isBare(stream, payload string) bool {
	if stream == "door" {
		return payload == "open" || payload == "closed"
	}
	_, err := strconv.ParseUint(payload, 10, 64)
	return err == nil && slices.Contains([]string{"hum", "live", "bell"}, stream)
}

// holes counts the missing numbers between the smallest and the largest: the back end
// subscribes after the start of the agent. Duplicates are no error, because a plain value
// has no key.
func holes(payloads []string) (missing, of int) {
	there := map[int]bool{}
	for _, p := range payloads {
		if n, err := strconv.Atoi(p); err == nil {
			there[n] = true
		}
	}
	if len(there) == 0 {
		return 0, 0
	}
	all := slices.Sorted(maps.Keys(there))
	of = all[len(all)-1] - all[0] + 1
	return of - len(all), of
}

// bareRows are the values of the agent in the back end, by stream.
func (r *readers) bareRows(ctx context.Context) (map[string][]string, error) {
	out, err := r.ask(ctx, filepath.Join(r.here("backend"), "manage.py"), "dumpdata", "house.value")
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Fields struct {
			ClientID string `json:"client_id"`
			Stream   string
			Payload  string
		}
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, row := range rows {
		if f := row.Fields; f.ClientID == bareID {
			all[f.Stream] = append(all[f.Stream], f.Payload)
		}
	}
	return all, nil
}

// skipped is the number of readings that the agent reports as not sent.
func (r *readers) skipped() (n int) {
	for _, a := range r.rec.Arrivals() {
		var event struct {
			Event string
			Count int
		}
		if a.Topic == bareID+"/agent/event" && json.Unmarshal([]byte(a.Payload), &event) == nil &&
			event.Event == "skipped" {
			n += event.Count
		}
	}
	return n
}
