package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A mosquitto is a real broker on loopback that can be stopped and killed.
type mosquitto struct {
	t    *testing.T
	conf string
	addr string
	cmd  *exec.Cmd
}

// persistent makes Mosquitto save what it has acknowledged as well as it can.
const persistent = "persistence true\nautosave_interval 1\nautosave_on_changes true\n"

// startMosquitto starts a broker on loopback. extra is added to its configuration.
func startMosquitto(t *testing.T, extra string) *mosquitto {
	t.Helper()
	if _, err := exec.LookPath("mosquitto"); err != nil {
		t.Fatal("mosquitto is not installed: apt-get install mosquitto, or run build/test")
	}
	dir := t.TempDir()
	m := &mosquitto{t: t, conf: filepath.Join(dir, "mosquitto.conf"), addr: freeAddr(t)}
	_, port, _ := net.SplitHostPort(m.addr)
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nuser root\npersistence_location %s/\n"+
		"max_queued_messages 0\nlog_dest none\n%s", port, dir, extra)
	if err := os.WriteFile(m.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.kill)
	return m
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command("mosquitto", "-c", m.conf)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, time.Minute, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// stop sends SIGTERM; kill gives the broker no time to save anything.
func (m *mosquitto) stop() { m.cmd.Process.Signal(syscall.SIGTERM); m.cmd.Wait() }
func (m *mosquitto) kill() { m.cmd.Process.Kill(); m.cmd.Wait() }

// An arrival is one message that a subscriber received.
type arrival struct {
	topic    string
	retained bool
	at       time.Time
	raw      string
	received
}

type received struct {
	TS         int64    `json:"ts"`
	Boot       string   `json:"boot"`
	Seq        uint64   `json:"seq"`
	Value      *float64 `json:"value"`
	State      string   `json:"state"`
	Unit       string   `json:"unit"`
	Historical bool     `json:"historical"`
	Clock      string   `json:"clock"`
	Error      string   `json:"error"`
	By         string   `json:"by"`
}

// key identifies a reading of one agent.
type key struct {
	topic, boot string
	seq         uint64
}

func (a arrival) key() key { return key{a.topic, a.Boot, a.Seq} }

// A subscriber has a persistent session at QoS 1 and records everything.
type subscriber struct {
	client mqtt.Client
	mu     sync.Mutex
	got    []arrival
}

func subscribe(t *testing.T, addr string, filters ...string) *subscriber {
	t.Helper()
	return subscribeWith(t, mqtt.NewClientOptions().AddBroker("tcp://"+addr), filters...)
}

// subscribeWith is subscribe with options for the connection.
func subscribeWith(t *testing.T, o *mqtt.ClientOptions, filters ...string) *subscriber {
	t.Helper()
	s := &subscriber{}
	topics := map[string]byte{}
	for _, f := range filters {
		topics[f] = 1
	}
	o.SetClientID("recorder-" + t.Name()).SetCleanSession(false).
		SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond).
		SetMaxReconnectInterval(200 * time.Millisecond).
		SetKeepAlive(5 * time.Second).SetDefaultPublishHandler(s.arrived)
	o.SetOnConnectHandler(func(c mqtt.Client) { c.SubscribeMultiple(topics, s.arrived) })
	s.client = mqtt.NewClient(o)
	if tok := s.client.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Fatal("subscriber: ", tok.Error())
	}
	t.Cleanup(func() { s.client.Disconnect(0) })
	return s
}

func (s *subscriber) arrived(_ mqtt.Client, m mqtt.Message) {
	a := arrival{topic: m.Topic(), retained: m.Retained(), at: time.Now(), raw: string(m.Payload())}
	json.Unmarshal(m.Payload(), &a.received)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, a)
}

// on returns the arrivals on topics that end in suffix, in order.
func (s *subscriber) on(suffix string) (got []arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.got {
		if strings.HasSuffix(a.topic, suffix) {
			got = append(got, a)
		}
	}
	return got
}

// last returns the latest arrival on topics that end in suffix. It searches from the end,
// because tests call it often while thousands of readings arrive.
func (s *subscriber) last(suffix string) arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range slices.Backward(s.got) {
		if strings.HasSuffix(a.topic, suffix) {
			return a
		}
	}
	return arrival{}
}

// count is how many arrived on topics that end in suffix.
func (s *subscriber) count(suffix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.got {
		if strings.HasSuffix(s.got[i].topic, suffix) {
			n++
		}
	}
	return n
}

// eventually waits for a condition, and fails the test after a time limit.
func eventually(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
