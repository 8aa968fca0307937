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

	startTime = 5 * time.Minute  // RabbitMQ takes 10 s on an idle machine, two minutes at a load of 30
	stopTime  = 45 * time.Second // from SIGTERM to the end
)

// limits are the limits of a server, if the broker has such settings. The zero value has
// none.
type limits struct {
	size        int  // bytes of a packet or a payload
	queue       int  // messages that are queued for one subscriber
	inflight    int  // messages to a subscriber that it has not acknowledged
	connections int  // number of connections at a time
	denied      bool // nobody may publish below denied/
}

// limit is the configuration text for a number; empty for 0.
func limit(format string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}

// A kind is an MQTT broker program.
type kind struct {
	name    string
	ci      bool     // CI runs it
	source  string   // where the program comes from
	user    string   // the user name in the form of the broker; empty: "store"
	durable bool     // acknowledged messages and sessions survive SIGKILL
	slow    bool     // its start takes as long as an outage
	limits  []string // the cases of limits.go that it can have
	guard   string   // an account that may not read guard/siren/set; empty: there is none
	notes   string   // for docs/brokers.md
	version func(place) (string, error)
	prepare func(*server) error // writes its files into dir and an empty data folder
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
	dir     string // folder of its configuration, log and data
	limits  limits
	port    int   // MQTT over TLS
	more    []int // other ports that it needs
	process *child.Process
	helpers []*child.Process
}

func newServer(p place, k *kind, dir string) (*server, error) {
	return (&server{kind: k, place: p, dir: dir}).settle()
}

// newLimitedServer returns a server with limits.
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
	if err := os.RemoveAll(s.dir); err != nil { // from the previous run
		return nil, err
	}
	return s, s.clear()
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
func (s *server) data() string    { return filepath.Join(s.dir, "data") }
func (s *server) path(name string) string {
	return filepath.Join(s.dir, name)
}

// clear deletes all data of a broker.
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

// child starts a program whose log is beside the broker's data.
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

// serves waits until a client with the password is accepted.
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
			return fmt.Errorf("it ended: %v; %s", s.process.Err(), s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w; %s", err, s.logTail())
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

// login is how a test client connects to the broker.
func (s *server) login(clientID string) broker.Login {
	return broker.Login{
		Server: "ssl://" + s.address(), ClientID: clientID, Clean: clientID == "probe",
		Username: s.kind.userName(), Password: password, TLS: s.place.ca.client(),
	}
}

// stop stops the broker with SIGTERM.
func (s *server) stop() error {
	if !s.process.Stop(stopTime) {
		return fmt.Errorf("the broker did not end within %v of SIGTERM", stopTime)
	}
	return nil
}

// crash sends SIGKILL; kill is for the end of the run.
func (s *server) crash() { s.process.Kill() }

func (s *server) kill() {
	s.process.Kill()
	for _, p := range s.helpers {
		p.Kill()
	}
}

// logTail is the end of the broker's log.
func (s *server) logTail() string {
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "its log ends with\n\t" + strings.Join(lines[max(0, len(lines)-8):], "\n\t")
}

// freePort returns a port below the range that the kernel gives to clients: a client that
// keeps dialling a closed port in that range finally connects to itself.
func freePort() (int, error) {
	for range 1000 {
		port := 15000 + rand.IntN(17000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}
