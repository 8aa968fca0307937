package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

// python is Debian's, which has Debian's modules; another one may come first in the path.
const python = "/usr/bin/python3"

// A consumer is a program as in tutorials. It prints a line for each message: client ID,
// stream, payload.
type consumer struct {
	name        string
	of          string // the only client ID whose readings it gets; empty: all
	command     []string
	out, errors child.Log

	starts int // valid once closed
	killed chan struct{}
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

func newConsumer(name string, command ...string) *consumer {
	return &consumer{name: name, command: command, killed: make(chan struct{}), stop: func() {}}
}

// startsAgain is the delay of a service manager.
const startsAgain = 2 * time.Second

// keep restarts a program that has ended, as a service manager does. With paho 1.6 a
// program ends if the broker stops during an answer over TLS, or does not run at the start.
func (c *consumer) keep(ctx context.Context, python func(...string) *exec.Cmd) {
	ctx, c.stop = context.WithCancel(ctx)
	c.ended.Go(func() {
		for ; ctx.Err() == nil; pause(ctx, startsAgain) {
			c.starts++
			c.out.Write([]byte("\n")) // the previous process may have been killed within a line
			cmd := python(c.command...)
			cmd.Stdout, cmd.Stderr = &c.out, &c.errors
			p, err := child.Start(cmd)
			if err != nil {
				fmt.Fprintf(&c.errors, "start %s: %v\n", c.name, err)
				continue
			}
			select {
			case <-p.Done():
			case <-c.killed:
			case <-ctx.Done():
			}
			p.Kill()
		}
	})
}

// kill sends SIGKILL, if the program runs at the moment.
func (c *consumer) kill() {
	select {
	case c.killed <- struct{}{}:
	case <-time.After(startsAgain):
	}
}

// close ends the program and waits for its end.
func (c *consumer) close() {
	c.stop()
	c.ended.Wait()
}

// got are the readings that it has printed.
func (c *consumer) got() map[key]bool {
	got := map[key]bool{}
	for line := range strings.Lines(c.out.String()) {
		var x reading
		if word := strings.SplitN(line, " ", 3); len(word) == 3 && json.Unmarshal([]byte(word[2]), &x) == nil {
			got[key{word[0] + "/" + word[1], x.Boot, x.Seq}] = true
		}
	}
	return got
}

func (r *readers) here(name string) string { return filepath.Join(r.place.here, "consumers", name) }

// python returns a program with the broker in its environment.
func (r *readers) python(args ...string) *exec.Cmd {
	cmd := exec.Command(python, args...)
	cmd.Env = append(os.Environ(),
		"PYTHONDONTWRITEBYTECODE=1",
		"MQTT_HOST=127.0.0.1", fmt.Sprintf("MQTT_PORT=%d", r.server.port),
		"MQTT_USER="+user, "MQTT_PASSWORD="+password, "MQTT_CA="+r.place.ca.caFile,
		"HOUSE_DB="+r.server.path("house.db"),
		// this broker also stands for ThingsBoard, whose topics have three levels
		"TB_HOST=127.0.0.1", fmt.Sprintf("TB_PORT=%d", r.server.port),
		"TB_TOKEN="+user, "TB_PASSWORD="+password, "TB_CA="+r.place.ca.caFile)
	return cmd
}

// ask runs a program until its end, and returns its output.
func (r *readers) ask(ctx context.Context, args ...string) (string, error) {
	var out, errors child.Log
	cmd := r.python(args...)
	cmd.Stdout, cmd.Stderr = &out, &errors
	p, err := child.Start(cmd)
	if err != nil {
		return "", err
	}
	defer p.Kill()
	select {
	case <-p.Done():
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(time.Minute):
		return "", fmt.Errorf("%s says nothing within a minute", filepath.Base(args[0]))
	}
	if err := p.Err(); err != nil {
		return "", fmt.Errorf("%w: %s", err, errors.String())
	}
	return out.String(), nil
}
