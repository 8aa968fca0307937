package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// TestSirenWorksWithoutANetwork: the rule needs no broker, `holdfast status` shows the
// state, and both changes arrive later, each with its own time.
func TestSirenWorksWithoutANetwork(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, `
  door: {kind: simulated, steps: {states: [closed, open], every: 1s}, class: door, alarm: true}
outputs:
  siren: {kind: simulated, class: siren, max_on: 1m}
rules:
  intruder: {when: {door: open}, then: {siren: 500ms}}
`)
	w.cable.Pull()
	w.agent.start()
	until := func(what, state string) (last status.Output) {
		t.Helper()
		eventually(t, time.Minute, what, func() bool {
			s, ok := w.agent.status()
			if ok && len(s.Outputs) == 1 {
				last = s.Outputs[0]
			}
			return ok && last.State == state
		})
		return last
	}
	if o := until("the siren sounds", status.On); o.By != "rule:intruder" || o.Until == 0 || o.Name != "siren" {
		t.Errorf("%+v", o)
	}
	if o := until("the siren ends", status.Off); o.Until != 0 || o.Since == 0 {
		t.Errorf("%+v", o)
	}
	w.cable.Plug()
	w.more(t, "siren", 4)
	w.agent.stop()
	w.checkComplete(t, "siren")
	opened, sounded := w.first(t, "door", "open"), w.first(t, "siren", "on")
	if sounded.By != "rule:intruder" || sounded.TS < opened.TS || sounded.at.Before(time.UnixMilli(sounded.TS)) {
		t.Errorf("the door opened at %d; the siren: %s", opened.TS, sounded.raw)
	}
}

// first is the first reading of a stream with a state.
func (w *wired) first(t *testing.T, stream, word string) arrival {
	t.Helper()
	all := w.sub.on("store/" + stream)
	i := slices.IndexFunc(all, func(r arrival) bool { return r.State == word })
	if i < 0 {
		t.Fatalf("none of %d readings of %s is %s", len(all), stream, word)
	}
	return all[i]
}

// TestStopPublishesThatTheSirenIsOff: the siren is off when the agent ends, and so is its
// retained state.
func TestStopPublishesThatTheSirenIsOff(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, `
  door: {kind: simulated, steps: {states: [closed, open], every: 1s}, alarm: true}
outputs:
  siren: {kind: simulated, class: siren, max_on: 10m}
rules:
  intruder: {when: {door: open}, then: {siren: 5m}}
`)
	w.agent.start()
	eventually(t, time.Minute, "the siren sounds", func() bool { return w.sub.last("store/siren").State == status.On })
	w.agent.stop()
	eventually(t, time.Minute, "the agent is offline", func() bool { return w.sub.last("/status").raw == "offline" })
	for _, topic := range []string{"store/siren", "store/siren/state"} {
		if last := w.sub.last(topic); last.State != status.Off || last.By != "stop" {
			t.Errorf("the last message on %s: %s", topic, last.raw)
		}
	}
}

// TestTheLinkEndsAfterTheOutputs: the line of the siren needs a while to become safe at the
// end of the agent. The broker gets this state before the agent is offline.
func TestTheLinkEndsAfterTheOutputs(t *testing.T) {
	t.Parallel()
	addr := startMosquitto(t, "").addr
	sub := subscribe(t, addr, "house/#")
	for range 10 {
		if stopsWithASlowSiren(t, addr, sub) {
			return
		}
	}
	t.Fatal("in 10 attempts the test itself was slower than safeTimeout allows")
}

// stopsWithASlowSiren stops an agent whose siren is on. It reports whether the siren's line
// took less time than the agent waits for it: otherwise the attempt proves nothing.
func stopsWithASlowSiren(t *testing.T, addr string, sub *subscriber) (shown bool) {
	t.Helper()
	text := fmt.Sprintf(strings.Replace(sirenHouse, "siren: 100ms", "siren: 10s", 1), addr,
		filepath.Join(t.TempDir(), "queue.db"))
	cfg, err := config.Parse("house", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Sensors = slices.DeleteFunc(cfg.Sensors, func(s sensors.Spec) bool { return s.Name != "door" })
	door := &openDoor{edges: make(chan float64), quantity: cfg.Sensors[0].Streams[0].Quantity.Name}
	siren := &fakeSiren{set: make(chan bool)}
	ctx, stop := context.WithCancel(t.Context())
	var agent sync.WaitGroup
	agent.Go(func() {
		_, err := serve(ctx, cfg, surroundings{log: slog.New(slog.DiscardHandler),
			open:     func(context.Context, sensors.Spec) (sensors.Sensor, error) { return door, nil },
			openLine: func(context.Context, outputs.Spec) (outputs.Line, error) { return siren, nil }})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	door.edges <- 0
	door.edges <- 1
	siren.await(true)
	eventually(t, time.Minute, "the siren sounds", func() bool { return sub.last("house/siren/state").State == status.On })
	boot := sub.last("house/siren/state").Boot

	stop()
	stopped := time.Now()
	for range 20 { // a link that does not wait would be offline by then
		if sub.last("/status").raw == "offline" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(stopped)
	siren.await(false)
	agent.Wait()
	if took > safeTimeout/2 {
		return false
	}
	eventually(t, time.Minute, "the agent is offline", func() bool { return sub.last("/status").raw == "offline" })
	for _, topic := range []string{"house/siren", "house/siren/state"} {
		if last := sub.last(topic); last.State != status.Off || last.By != "stop" || last.Boot != boot {
			t.Errorf("the last message on %s: %s", topic, last.raw)
		}
	}
	return true
}
