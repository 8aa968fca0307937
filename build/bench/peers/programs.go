package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// telegrafVersion is built from its module, with only the plugins that the peer needs.
const (
	telegrafVersion = "v1.37.2"
	telegrafTags    = "custom,inputs.http_listener_v2,outputs.mqtt,parsers.json,serializers.json"
)

// buildPrograms builds the programs that are measured as a whole. Telegraf stays in the
// tree's cache, because it has many modules; an error contains the reason why it cannot be
// built.
func (p *plan) buildPrograms(ctx context.Context) error {
	p.agent = filepath.Join(p.dir, "holdfast")
	out, err := exec.CommandContext(ctx, "../../agent", p.agent, "-ldflags=-s -w").CombinedOutput()
	if err != nil {
		return fmt.Errorf("start it in build/bench/peers: build/agent: %w: %s", err, out)
	}
	cache, err := filepath.Abs("../../.cache/telegraf-" + telegrafVersion)
	if err != nil {
		return err
	}
	p.telegraf = filepath.Join(cache, "telegraf")
	if _, err := os.Stat(p.telegraf); err == nil {
		return nil
	}
	c := exec.CommandContext(ctx, "go", "install", "-tags", telegrafTags,
		"github.com/influxdata/telegraf/cmd/telegraf@"+telegrafVersion)
	c.Env = append(os.Environ(), "GOBIN="+cache, "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("telegraf %s cannot be built: %w: %s", telegrafVersion, err, out)
	}
	return nil
}

// telegraf receives readings by HTTP.
type telegraf struct {
	cmd *exec.Cmd
	url string
}

const telegrafConfig = `[agent]
interval = "10s"
flush_interval = "1s"
flush_jitter = "0s"
metric_buffer_limit = 1000000
omit_hostname = true
buffer_strategy = "disk"
buffer_directory = %q
[[inputs.http_listener_v2]]
service_address = "tcp://%s"
paths = ["/"]
data_format = "json"
[[outputs.mqtt]]
servers = ["tcp://%s"]
topic = %q
qos = 1
client_id = "bench-telegraf"
layout = "non-batch"
data_format = "json"
startup_error_behavior = "retry"
`

func openTelegraf(ctx context.Context, j job) (peer, error) {
	buffer := filepath.Join(j.Dir, "buffer")
	conf := filepath.Join(j.Dir, "telegraf.conf")
	err := errors.Join(os.MkdirAll(buffer, 0o700),
		os.WriteFile(conf, fmt.Appendf(nil, telegrafConfig, buffer, j.Room, j.Broker, topic), 0o600))
	if err != nil {
		return nil, err
	}
	t := &telegraf{url: "http://" + j.Room + "/"}
	if t.cmd, err = child(j.Telegraf, "--config", conf, "--quiet"); err != nil {
		return nil, err
	}
	for range 1000 {
		response, err := http.Head(t.url)
		if err == nil {
			return t, response.Body.Close()
		}
		sleep(ctx, 5*time.Millisecond)
	}
	return nil, errors.New("telegraf does not listen")
}

// put waits for the answer to a request.
func (t *telegraf) put(_ int, payload []byte) error {
	response, err := http.Post(t.url, "application/json", bytes.NewReader(payload))
	if err != nil {
		return err
	}
	io.Copy(io.Discard, response.Body) // so that the connection is reused
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("telegraf answers %s", response.Status)
	}
	return nil
}

func (t *telegraf) close() error {
	t.cmd.Process.Signal(syscall.SIGTERM)
	return t.cmd.Wait()
}

// agent is the whole program, which has its own sensors.
type agent struct{ cmd *exec.Cmd }

const agentConfig = `client_id: bench
mqtt: {server: "mqtt://%s"}
queue: {path: %s}
sensors:
  room: {kind: simulated, counter: {}, every: 1s}
`

func openAgent(_ context.Context, j job) (peer, error) {
	conf := filepath.Join(j.Dir, "holdfast.yaml")
	text := fmt.Appendf(nil, agentConfig, j.Broker, filepath.Join(j.Dir, "queue.db"))
	if err := os.WriteFile(conf, text, 0o600); err != nil {
		return nil, err
	}
	cmd, err := child(j.Agent, "run", "-c", conf)
	return &agent{cmd}, err
}

func (a *agent) put(int, []byte) error { return nil }

func (a *agent) close() error {
	a.cmd.Process.Signal(syscall.SIGTERM)
	return a.cmd.Wait()
}
