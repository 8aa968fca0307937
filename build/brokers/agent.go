package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

// An agent is a process of the real program.
type agent struct {
	place    place
	clientID string
	dir      string
	log      child.Log
	process  *child.Process
}

// newAgent prepares an agent that connects to a broker at an address. Its readings count
// from 1; its alarms change every 700 ms; and the stream still has a single reading.
func newAgent(s *server, name, clientID, address, word string) (*agent, error) {
	a := &agent{place: s.place, clientID: clientID, dir: filepath.Join(s.dir, name)}
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return nil, err
	}
	if err := a.setPassword(word); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`client_id: %s
mqtt:
  server: mqtts://%s
  version: %s
  username: %q
  password_file: %s
  tls: {ca: %s}
  keepalive: 5s
queue: {path: %s}
sensors:
  load: {kind: simulated, counter: {}, every: 20ms}
  gate: {kind: simulated, steps: {states: [closed, open], every: 700ms}, alarm: true}
  still: {kind: simulated, steps: {states: [closed, open], every: 24h}}
`, clientID, address, s.place.mqtt,
		s.kind.userName(), a.passwordFile(), s.place.ca.caFile, filepath.Join(a.dir, "queue.db"))
	return a, os.WriteFile(a.config(), []byte(text), 0o600)
}

func (a *agent) config() string       { return filepath.Join(a.dir, "config.yaml") }
func (a *agent) passwordFile() string { return filepath.Join(a.dir, "password") }

func (a *agent) setPassword(word string) error {
	return os.WriteFile(a.passwordFile(), []byte(word+"\n"), 0o600)
}

func (a *agent) start() error {
	cmd := exec.Command(a.place.agent, "run", "-c", a.config())
	cmd.Stderr = &a.log
	p, err := child.Start(cmd)
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	a.process = p
	return nil
}

// stop sends SIGTERM, and requires a clean exit; kill sends SIGKILL.
func (a *agent) stop() error {
	const grace = 15 * time.Second
	if !a.process.Stop(grace) {
		return fmt.Errorf("the agent did not end within %v of SIGTERM", grace)
	}
	return a.process.Err()
}

// kill may be called after the end, and before the start. The log is kept.
func (a *agent) kill() {
	if a.process == nil {
		return
	}
	a.process.Kill()
	os.WriteFile(filepath.Join(a.dir, "log"), []byte(a.log.String()), 0o644)
}
