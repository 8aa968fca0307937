package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const counter = "  load: {kind: simulated, counter: {}, every: 50ms}\n"

// reload gives the agent another configuration, or the same one.
func (a *agent) reload(change func(text string) string) {
	a.t.Helper()
	text, err := os.ReadFile(a.configPath())
	if err != nil {
		a.t.Fatal(err)
	}
	before := strings.Count(a.log.String(), "configuration read again")
	a.configure(change(string(text)))
	a.cmd.Process.Signal(syscall.SIGHUP)
	eventually(a.t, time.Minute, "the file is read again", func() bool {
		return strings.Count(a.log.String(), "configuration read again") > before
	})
}

// starts is how often the agent has started.
func (a *agent) starts() int { return strings.Count(a.log.String(), "holdfast starts") }

// checkCounts fails unless the counter has counted from 1 without a repeat, in one boot,
// and with equal sequence numbers.
func (w *wired) checkCounts(t *testing.T, stream string) {
	t.Helper()
	for _, a := range w.sub.on("store/" + stream) {
		// A reading that is delivered again has the same number: the counter equals the number.
		if a.Value == nil || *a.Value != float64(a.Seq) {
			t.Errorf("%s: not the reading that was due: %s", stream, a.raw)
		}
	}
	if boots := w.checkComplete(t, stream); len(boots) != 1 {
		t.Errorf("%s: boots %v, want one", stream, boots)
	}
}

func TestReloadKeepsUnchangedParts(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, counter)
	w.agent.start()
	w.more(t, "load", 20)

	// Nothing changed: the link stays too.
	w.agent.reload(func(text string) string { return text })
	w.more(t, "load", 20)
	if n := strings.Count(w.agent.log.String(), "uplink up"); n != 1 {
		t.Errorf("connected %d times, want once: the file was the same", n)
	}

	w.agent.reload(func(text string) string {
		return text + "  extra: {kind: simulated, counter: {}, every: 100ms}\n"
	})
	w.more(t, "extra", 10)
	w.more(t, "load", 20)

	w.agent.reload(func(text string) string { return strings.Replace(text, "every: 100ms", "every: 80ms", 1) })
	w.more(t, "extra", 20)
	w.more(t, "load", 20)
	w.agent.stop()
	w.checkCounts(t, "load")
	// The counter started from 1 again when it changed, and its sequence numbers continued.
	if boots := w.checkComplete(t, "extra"); len(boots) != 1 {
		t.Errorf("extra: boots %v, want one", boots)
	}
	if last := w.sub.last("store/extra"); last.Value == nil || *last.Value >= float64(last.Seq) {
		t.Errorf("a sensor that changed was not restarted: %s", last.raw)
	}
	if n := w.agent.starts(); n != 1 {
		t.Errorf("the queue was opened %d times, want once", n)
	}
}

// The state of a sensor that is read once an hour must exist after a change of the link.
func TestNewLinkHasTheStates(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, "  meter: {kind: simulated, counter: {}, every: 1h}\n")
	w.agent.start()
	w.more(t, "meter", 1)
	count := w.sub.count("store/meter/state")
	w.agent.reload(func(text string) string {
		return strings.Replace(text, "mqtt: {", "mqtt: {keepalive: 20s, ", 1)
	})
	eventually(t, time.Minute, "the new link publishes the state", func() bool {
		return w.sub.count("store/meter/state") > count
	})
	if s := w.sub.last("store/meter/state"); s.Value == nil || *s.Value != 1 || s.Seq != 1 {
		t.Errorf("the state after the reload: %s", s.raw)
	}
	w.agent.stop()
	if n := w.agent.starts(); n != 1 {
		t.Errorf("the queue was opened %d times, want once", n)
	}
}

// Without a connection, alarms included.
func TestReloadDuringAnOutageLosesNothing(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, counter)
	w.agent.retrySoon()
	w.agent.start()
	w.more(t, "load", 20)
	w.cable.Pull()
	w.agent.reload(func(text string) string {
		return text + "  gate: {kind: simulated, steps: {states: [closed, open], every: 200ms}, alarm: true}\n"
	})
	w.agent.reload(func(text string) string { return text })
	w.cable.Plug()
	w.more(t, "load", 100)
	w.more(t, "gate", 10)
	w.agent.stop()
	w.checkCounts(t, "load")
	w.checkComplete(t, "gate")
}

func TestReloadWithAnotherQueueRestartsEverything(t *testing.T) {
	t.Parallel()
	a := newAgent(t, fmt.Sprintf(lonely, ""))
	a.start()
	eventually(t, time.Minute, "the agent runs", func() bool { return a.starts() == 1 })
	a.reload(func(text string) string { return strings.Replace(text, "queue: {", "queue: {sync_every: 4s, ", 1) })
	eventually(t, time.Minute, "it has restarted", func() bool { return a.starts() == 2 })
	a.stop()
}
