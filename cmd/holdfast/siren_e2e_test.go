package main

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// TestTheSirenSoundsWithoutANetwork: the rule needs no broker, `holdfast status` says what
// happens, and both changes arrive later, each with its own time.
func TestTheSirenSoundsWithoutANetwork(t *testing.T) {
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

// first is the first reading of a stream with a word.
func (w *wired) first(t *testing.T, stream, word string) arrival {
	t.Helper()
	all := w.sub.on("store/" + stream)
	i := slices.IndexFunc(all, func(r arrival) bool { return r.State == word })
	if i < 0 {
		t.Fatalf("none of %d readings of %s is %s", len(all), stream, word)
	}
	return all[i]
}

// TestAStopSaysThatTheSirenIsOff: it is off when the agent ends, and the state that the broker
// keeps says so.
func TestAStopSaysThatTheSirenIsOff(t *testing.T) {
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
