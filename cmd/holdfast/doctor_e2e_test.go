package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestAQueueInMemoryIsAProblemInHealth: the checks at the start find it, and it is
// published.
func TestAQueueInMemoryIsAProblemInHealth(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast") // a tmpfs on every Linux
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := wire(t, startMosquitto(t, ""), 0, "")
	w.agent.expectProblems = true
	w.agent.configure(fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %s/queue.db}\n"+
		"sensors:\n  load: {kind: simulated, counter: {}, every: 100ms}\n", w.cable.Addr(), dir))
	w.agent.start()
	eventually(t, 90*time.Second, "health has the problem", func() bool { // the next heartbeat may be a minute away
		var health struct{ Problems []string }
		json.Unmarshal([]byte(w.sub.last("store/agent/health").raw), &health)
		return len(health.Problems) == 1 && strings.Contains(health.Problems[0], "queue-folder: ") &&
			strings.Contains(health.Problems[0], "is on a tmpfs")
	})
	w.agent.stop()
}

// TestDoctorFindsNoFaultAtAHealthySite: before the agent runs, and while it runs, without
// ending its session.
func TestDoctorFindsNoFaultAtAHealthySite(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, "")
	w.agent.configure(fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %%DIR%%/queue.db}\n"+
		"clock: {trust: always}\nsensors:\n  load: {kind: simulated, counter: {}, every: 100ms}\n", w.cable.Addr()))
	if out := w.doctor(); !strings.Contains(out, "ok       retain") {
		t.Errorf("without an agent:\n%s", out)
	}
	w.agent.start()
	eventually(t, time.Minute, "online", func() bool { return w.sub.last("store/agent/status").raw == "online" })
	_, before := w.tap.snapshot()
	out := w.doctor()
	if !strings.Contains(out, "ok       agent") || !strings.Contains(out, "skipped  login: the agent that runs") {
		t.Errorf("beside the agent:\n%s", out)
	}
	if _, after := w.tap.snapshot(); len(after) != len(before) {
		t.Errorf("%d sessions before and %d after", len(before), len(after))
	}
	w.agent.stop()
}

// doctor runs the command with the configuration of the agent. It must find nothing.
func (w *wired) doctor() string {
	w.agent.t.Helper()
	cmd := exec.Command(os.Args[0], "doctor", "-c", w.agent.configPath())
	cmd.Env = append(os.Environ(), agentEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.agent.t.Errorf("doctor: %v\n%s", err, out)
	}
	return string(out)
}
