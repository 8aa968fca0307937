package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// status is the output of the command; ok is false while the agent cannot be asked.
func (a *agent) status() (s status.Snapshot, ok bool) {
	a.t.Helper()
	cmd := exec.Command(os.Args[0], "status", "-json", "-c", a.configPath())
	cmd.Env = append(os.Environ(), agentEnv+"=1")
	out, err := cmd.Output()
	if err != nil {
		return s, false
	}
	if err := json.Unmarshal(out, &s); err != nil {
		a.t.Fatalf("holdfast status -json: %v: %s", err, out)
	}
	return s, true
}

// TestStatusShowsAnOutageAndItsDrain asks the real agent during an outage and after it.
func TestStatusShowsAnOutageAndItsDrain(t *testing.T) {
	t.Parallel()
	w := wireOver(t, startMosquitto(t, persistent), newWiretap(0), quick, `
  load:   {kind: simulated, counter: {}, every: 20ms}
  broken: {kind: simulated, counter: {}, every: 100ms, fail: {every: 1}}
`)
	w.agent.start()
	until := func(what string, good func(status.Snapshot) bool) (last status.Snapshot) {
		t.Helper()
		eventually(t, time.Minute, what, func() bool {
			s, ok := w.agent.status()
			last = s
			return ok && good(s)
		})
		return last
	}
	s := until("a connection and a fault", func(s status.Snapshot) bool {
		return s.Link.Connected && s.Queue.Delivered > 50 && len(s.Events) > 0
	})
	if s.Link.Server != w.cable.Addr() || s.Link.RoundTrip <= 0 || s.Node.ClientID != "store" {
		t.Errorf("link %+v, node %+v", s.Link, s.Node)
	}
	if broken := s.Streams[1]; broken.Error == "" || broken.Value != nil || s.Events[0].Name != "fault" {
		t.Errorf("broken: %+v, events %+v", broken, s.Events)
	}

	w.cable.Pull()
	s = until("an outage and a backlog", func(s status.Snapshot) bool {
		return !s.Link.Connected && s.Queue.Backlog > 200 && s.Queue.Oldest > 3
	})
	if s.Link.Error == "" || s.Queue.Left != -1 {
		t.Errorf("link %+v, %v s left", s.Link, s.Queue.Left)
	}
	text, _ := holdfast(t, "status", "-c", w.agent.configPath())
	if !strings.HasPrefix(text, "store  not connected\n") {
		t.Errorf("the page begins %.80q", text)
	}
	w.cable.Plug()
	until("everything delivered", func(s status.Snapshot) bool { return s.Link.Connected && s.Queue.Backlog < 10 })
	w.agent.stop()
}
