package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// everything: each consumer has received each reading.
func (r *readers) everything(ctx context.Context) {
	t := r.ledger.count("house")
	if err := t.wrong(func(key) bool { return false }); err != nil {
		r.report.check(false, "consumers: the recorder: %v", err)
		return
	}
	want := map[key]bool{}
	for _, stream := range streams {
		for _, x := range r.ledger.on("house/" + stream) {
			want[key{"house/" + stream, x.Boot, x.Seq}] = true
		}
	}
	for _, c := range r.all {
		if c.of != "" {
			continue // see bareValues
		}
		err := eventually(ctx, patience, "has all of them", func() bool { return missing(want, c.got()) == 0 })
		c.close()
		r.report.check(err == nil, "consumers: %s gets every reading: %d of %d missing, started %d times", c.name,
			missing(want, c.got()), len(want), c.starts)
	}
	stored, err := r.stored(ctx)
	if err != nil {
		r.report.check(false, "consumers: what Django has stored: %v", err)
		return
	}
	r.report.check(missing(want, stored) == 0, "consumers: Django has stored every reading, once: %d of %d missing",
		missing(want, stored), len(want))
}

func missing(want, got map[key]bool) (n int) {
	for k := range want {
		if !got[k] {
			n++
		}
	}
	return n
}

// stored are the readings in the back end's database.
func (r *readers) stored(ctx context.Context) (map[key]bool, error) {
	out, err := r.ask(ctx, filepath.Join(r.here("backend"), "manage.py"), "dumpdata", "house.reading")
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Fields struct {
			ClientID string `json:"client_id"`
			Stream   string `json:"stream"`
			Payload  reading
		}
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, err
	}
	stored := map[key]bool{}
	for _, row := range rows {
		f := row.Fields
		stored[key{f.ClientID + "/" + f.Stream, f.Payload.Boot, f.Payload.Seq}] = true
	}
	if len(stored) != len(rows) {
		return nil, fmt.Errorf("%d rows hold %d readings", len(rows), len(stored))
	}
	return stored, nil
}

// present: subscribe.simple on a state returns the present state, of an agent that has
// ended.
func (r *readers) present(ctx context.Context) {
	for topic, want := range map[string]string{"house/gate/state": `"state"`, "house/agent/status": "offline"} {
		out, err := r.ask(ctx, r.here("simple.py"), topic)
		if err != nil {
			out = err.Error()
		}
		r.report.check(strings.Contains(out, want), "consumers: subscribe.simple shows %s: %s", topic,
			strings.TrimSpace(out))
	}
}

// redelivery tests the warning in docs/consumers.md: with a persistent session,
// subscribe.simple returns before it has acknowledged its message. The first call creates
// the session.
func (r *readers) redelivery(ctx context.Context) {
	got := make([]reading, 4)
	for i := range got {
		out, err := r.ask(ctx, r.here("simple.py"), "house/load", "simple")
		if err == nil {
			err = json.Unmarshal([]byte(out), &got[i])
		}
		if err != nil {
			r.report.check(false, "consumers: subscribe.simple with a session: %v", err)
			return
		}
	}
	first, last := got[1], got[3]
	r.report.check(first.Seq > 0 && first.Seq == last.Seq && first.Boot == last.Boot,
		"consumers: subscribe.simple with a session gets one reading for ever, as docs/consumers.md says (%d, then %d)",
		first.Seq, last.Seq)
}
