package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/link"
)

// An agent is a process of holdfast with its simulated card and network link.
type agent struct {
	name, binary string
	dir, config  string
	card         *card
	cable        *link.Link
	cmd          *exec.Cmd
	log          *os.File
}

const sensors = `
  load: {kind: simulated, counter: {}, every: 50ms}
  room: {kind: simulated, wave: {quantity: humidity, unit: "%", mean: 45, swing: 10, period: 1h}, every: 1s}
  gate: {kind: simulated, steps: {states: [closed, open], every: 700ms}, alarm: true}
`

func newAgent(dir, name, binary, server string) (*agent, error) {
	a := &agent{name: name, binary: binary, dir: filepath.Join(dir, name)}
	a.config = filepath.Join(a.dir, "config.yaml")
	if err := os.Mkdir(a.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if a.card, err = newCard(a.dir); err != nil {
		return nil, err
	}
	if a.cable, err = link.New(server, nil, link.Shape{}); err != nil {
		return nil, err
	}
	if a.log, err = os.Create(filepath.Join(a.dir, "log")); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("client_id: %s\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %s/queue.db}\nsensors:%s", name,
		a.cable.Addr(), a.card.dir, sensors)
	if err := os.WriteFile(a.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return a, a.start()
}

func (a *agent) start() error {
	a.cmd = exec.Command(a.binary, "run", "-c", a.config)
	a.cmd.Stderr = a.log
	return a.cmd.Start()
}

// stop stops the agent with SIGTERM. If that takes too long, the agent is killed, and hung
// is true.
func (a *agent) stop() (hung bool) {
	a.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(20*time.Second, func() {
		hung = true
		a.cmd.Process.Kill()
	})
	a.cmd.Wait()
	return !late.Stop() && hung
}

func (a *agent) kill() {
	a.cmd.Process.Kill()
	a.cmd.Wait()
}

func (a *agent) close() {
	a.kill()
	a.cable.Close()
	a.card.close()
	a.log.Close()
}
