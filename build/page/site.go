package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/broker"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A site is a broker, a cable, and the real agent with a status page.
type site struct {
	broker *broker.Broker
	cable  *cable.Cable
	agent  *exec.Cmd
	binary string // of the agent
	folder string // with its configuration, its queue and its log
	url    string // of the page
}

// newSite starts a site in its own folder below dir. more is added to the configuration.
func newSite(ctx context.Context, binary, dir, name, more string) (s *site, err error) {
	s = &site{binary: binary, folder: filepath.Join(dir, name)}
	defer func() {
		if err != nil {
			s.stop()
			s = nil
		}
	}()
	if s.broker, err = broker.Listen("127.0.0.1:0", "", slog.New(slog.DiscardHandler)); err != nil {
		return s, err
	}
	if s.cable, err = cable.New(s.broker.Addr().String(), nil, cable.Link{}); err != nil {
		return s, err
	}
	listen, err := freePort()
	if err != nil {
		return s, err
	}
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		return s, err
	}
	text := fmt.Sprintf("client_id: %s\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %s/queue.db}\n"+
		"status: {listen: %q}\n%s", name, s.cable.Addr(), s.folder, listen, more)
	if err := os.WriteFile(s.config(), []byte(text), 0o600); err != nil {
		return s, err
	}
	s.url = "http://" + listen + "/"
	return s, s.start(ctx)
}

func (s *site) config() string { return filepath.Join(s.folder, "config.yaml") }

// start starts the agent and waits for its page.
func (s *site) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.agent = exec.Command(s.binary, "run", "-c", s.config())
	s.agent.Stderr = log
	s.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.agent.Start(); err != nil {
		return err
	}
	return s.answers(ctx)
}

// end stops the agent with SIGTERM.
func (s *site) end() {
	if s.agent != nil && s.agent.Process != nil {
		s.agent.Process.Signal(syscall.SIGTERM)
		s.agent.Wait()
	}
}

// freePort returns a free address of loopback.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// answers waits until the page answers.
func (s *site) answers(ctx context.Context) error {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		_, _, err := fetch(ctx, s.url+"healthz")
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (s *site) stop() {
	s.end()
	if s.cable != nil {
		s.cable.Close()
	}
	if s.broker != nil {
		s.broker.Close()
	}
}

// fetch gets a URL; headers are alternately names and values.
func fetch(ctx context.Context, url string, header ...string) (code int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// rssAnon is the anonymous memory of the agent, in bytes.
func (s *site) rssAnon() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.agent.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[0] == "RssAnon:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("no RssAnon in %s", text)
}

// processor is the CPU time that the agent has used.
func (s *site) processor() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.agent.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64) // utime and stime of proc_pid_stat(5), in hundredths of a second
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, err
}
