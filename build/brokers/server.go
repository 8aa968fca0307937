package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/build/rig/child"
)

const (
	user     = "store"
	password = "s3cret"

	startTime = 5 * time.Minute  // RabbitMQ takes 10 s on a machine of its own, two minutes at a load of 30
	stopTime  = 45 * time.Second // to end in order
)

// limits are what a server does not take, where the broker has such a setting. The
// zero value has none.
type limits struct {
	size        int  // bytes of a packet or a payload
	queue       int  // messages that wait for one subscriber
	inflight    int  // messages to a subscriber that wait for its acknowledgement
	connections int  // at a time
	denied      bool // nobody publishes below denied/
}

// limit is the piece of configuration for a number, unless that is 0.
func limit(format string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}

// A kind is a program that is an MQTT broker.
type kind struct {
	name    string
	ci      bool     // CI runs it
	source  string   // where it comes from
	user    string   // as it writes our user; empty: "store"
	durable bool     // what it acknowledged, and sessions, survive SIGKILL
	slow    bool     // its start is an outage by itself
	limits  []string // the cases of limits.go that it can have
	guard   string   // an account that may not read guard/siren/set; empty: there is none
	notes   string   // for docs/brokers.md
	version func(place) (string, error)
	prepare func(*server) error // writes what it needs into dir and an empty data folder
	command func(*server) (*exec.Cmd, error)
}

func (k *kind) userName() string {
	if k.user != "" {
		return k.user
	}
	return user
}

// A server is a broker on the loopback interface, with TLS and a password.
type server struct {
	kind    *kind
	place   place
	dir     string // its own: configuration, log, and data below it
	limits  limits
	port    int   // MQTT over TLS
	more    []int // ports for its other needs
	process *child.Process
	helpers []*child.Process
}

func newServer(p place, k *kind, dir string) (*server, error) {
	return (&server{kind: k, place: p, dir: dir}).settle()
}

// newLimitedServer returns one with limits.
func newLimitedServer(p place, k *kind, dir string, l limits) (*server, error) {
	return (&server{kind: k, place: p, dir: dir, limits: l}).settle()
}

// settle finds ports and empties the folder.
func (s *server) settle() (*server, error) {
	for range 3 {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s.more = append(s.more, port)
	}
	s.port, s.more = s.more[0], s.more[1:]
	if err := os.RemoveAll(s.dir); err != nil { // of the run before
		return nil, err
	}
	return s, s.clear()
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
func (s *server) data() string    { return filepath.Join(s.dir, "data") }
func (s *server) path(name string) string {
	return filepath.Join(s.dir, name)
}

// clear takes everything from a broker that it has ever been told.
func (s *server) clear() error {
	if err := os.RemoveAll(s.data()); err != nil {
		return err
	}
	if err := os.MkdirAll(s.data(), 0o755); err != nil {
		return err
	}
	return s.kind.prepare(s)
}

// start starts the broker and waits until it serves.
func (s *server) start(ctx context.Context) error {
	cmd, err := s.kind.command(s)
	if err != nil {
		return err
	}
	if s.process, err = s.child(cmd); err != nil {
		return err
	}
	return s.serves(ctx)
}

// child starts a program that logs beside the broker's data.
func (s *server) child(cmd *exec.Cmd) (*child.Process, error) {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.dir
	p, err := child.Start(cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

// serves waits until a client with the password is let in.
func (s *server) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := s.accepts()
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("it ended: %v; %s", s.process.Err(), s.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w; %s", err, s.lastWords())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *server) accepts() error {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", s.address(), s.place.ca.client())
	if err != nil {
		return err
	}
	c.Close()
	probe, err := broker.RecordAs(s.login("probe"), "probe")
	if err != nil {
		return err
	}
	probe.Close()
	return nil
}

// login is how a client of ours reaches the broker.
func (s *server) login(clientID string) broker.Login {
	return broker.Login{
		Server: "ssl://" + s.address(), ClientID: clientID, Clean: clientID == "probe",
		Username: s.kind.userName(), Password: password, TLS: s.place.ca.client(),
	}
}

// stop ends the broker in order.
func (s *server) stop() error {
	if !s.process.Stop(stopTime) {
		return fmt.Errorf("the broker did not end within %v of SIGTERM", stopTime)
	}
	return nil
}

// crash is SIGKILL; kill is the end of the run.
func (s *server) crash() { s.process.Kill() }

func (s *server) kill() {
	s.process.Kill()
	for _, p := range s.helpers {
		p.Kill()
	}
}

// lastWords is the end of its log.
func (s *server) lastWords() string {
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "its log ends with\n\t" + strings.Join(lines[max(0, len(lines)-8):], "\n\t")
}

// freePort is one below those that the kernel gives to clients: a client that
// keeps dialling a closed port among those connects to itself in the end.
func freePort() (int, error) {
	for range 1000 {
		port := 15000 + rand.IntN(17000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}
