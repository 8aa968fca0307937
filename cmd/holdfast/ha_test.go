package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// announced has the fields of an announcement that these tests use.
type announced struct {
	Components map[string]struct {
		Platform   string `json:"platform"`
		StateTopic string `json:"state_topic"`
	} `json:"components"`
}

// holdfast runs one command of the real program and returns what it printed.
func holdfast(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), agentEnv+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("holdfast %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), errs.String()
}

// listen subscribes to the secure broker with the node's credentials.
func (c *ca) listen(t *testing.T, b *mosquitto, filters ...string) *subscriber {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.path("node.pem"), c.path("node.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.cert)
	return subscribeWith(t,
		mqtt.NewClientOptions().AddBroker("ssl://"+b.addr).SetUsername("store").SetPassword("s3cret").
			SetTLSConfig(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}), filters...)
}

// TestHomeAssistantOverTLS tests a typical node: TLS with a client certificate, a password,
// and Home Assistant. It is announced, its states are published, and it is removed when it
// is taken out of service.
func TestHomeAssistantOverTLS(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	b := secureBroker(t, c)
	c.issue(t, "node", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err := os.WriteFile(c.path("password"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAgent(t,
		fmt.Sprintf("client_id: store\nmqtt:\n  server: mqtts://%s\n  password_file: %s\n  tls: {ca: %s, cert: %s, "+
			"key: %s}\n"+
			"home_assistant: {discovery: true}\nqueue: {path: %%DIR%%/queue.db}\nsensors:\n"+
			"  gate: {kind: simulated, steps: {states: [closed, open], every: 500ms}, class: gate}\n  load: {kind: "+
			"simulated, counter: {}, every: 100ms}\n",
			b.addr, c.path("password"), c.path("ca.pem"), c.path("node.pem"), c.path("node.key")))
	said, warned := holdfast(t, "check", "-c", a.configPath())
	shown, _ := holdfast(t, "ha", "show", "-c", a.configPath())
	if !strings.Contains(warned, `warning: `+a.configPath()+`:`) ||
		!strings.Contains(warned, `sensors.gate.class: Home Assistant has no class "gate" for two states`) {
		t.Errorf("check warned %q", warned)
	}

	house := c.listen(t, b, "#")
	a.start()
	eventually(t, time.Minute, "the announcement", func() bool {
		return house.last("homeassistant/device/store/config").raw != ""
	})
	announcement := house.last("homeassistant/device/store/config").raw
	if !equalJSON(t, announcement, shown) {
		t.Errorf("announced %s\nshown %s", announcement, shown)
	}
	var got announced
	if err := json.Unmarshal([]byte(announcement), &got); err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(got.Components)); fmt.Sprint(names) != "[agent.backlog agent.faults agent.gap "+
		"agent.oldest gate load]" {
		t.Errorf("announced are %v", names)
	}
	for _, name := range []string{"gate", "load"} {
		eventually(t, time.Minute, "the state of "+name, func() bool {
			return house.last(got.Components[name].StateTopic).Value != nil
		})
	}
	eventually(t, time.Minute, "warnings that three certificates expire within the hour", func() bool {
		return strings.Count(a.log.String(), "certificate expires soon") == 3
	})

	_, hint := holdfast(t, "ha", "clear", "-c", a.configPath())
	if !strings.Contains(hint, "the agent runs") {
		t.Errorf("ha clear beside an agent that runs said %q", hint)
	}
	late := c.retained(t, b)
	if late["homeassistant/device/store/config"] != "" || late["store/agent/status"] != "online" {
		t.Errorf("retained after ha clear: %q", late)
	}
	if log := a.log.String(); strings.Contains(log, "uplink down") {
		t.Error("ha clear disturbed the agent")
	}
	a.stop()
	cleared, _ := holdfast(t, "ha", "clear", "-c", a.configPath())
	if late := c.retained(t, b); len(late) != 0 {
		t.Errorf("retained after all: %q\nha clear said\n%s", late, cleared)
	}
	house.mu.Lock()
	defer house.mu.Unlock()
	if everything := fmt.Sprint(said, warned, shown, hint, cleared, a.log.String(),
		house.got); strings.Contains(everything, "s3cret") {
		t.Error("the password is printed, logged or published")
	}
}

// retained are the retained messages that a new subscriber gets.
func (c *ca) retained(t *testing.T, b *mosquitto) map[string]string {
	t.Helper()
	var kept map[string]string
	t.Run("late", func(t *testing.T) {
		s := c.listen(t, b, "#")
		eventually(t, time.Minute, "the end", func() bool { // retained messages arrive before this one
			s.client.Publish("end", 1, false, "x").Wait()
			return s.last("end").raw != ""
		})
		kept = map[string]string{}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, m := range s.got {
			if m.retained {
				kept[m.topic] = m.raw
			}
		}
	})
	return kept
}

func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var one, other any
	for text, into := range map[string]*any{a: &one, b: &other} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	x, _ := json.Marshal(one)
	y, _ := json.Marshal(other)
	return string(x) == string(y)
}

// TestReplayOfOldReadingsChangesNoEntity collects a thousand readings of a door during an
// outage. When they arrive, the topic of the entity has only present states.
func TestReplayOfOldReadingsChangesNoEntity(t *testing.T) {
	takesLong(t)
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), time.Millisecond,
		"  gate: {kind: simulated, steps: {states: [closed, open], every: 10ms}}\nhome_assistant: {discovery: true}\n")
	w.agent.retrySoon()
	w.agent.start()
	w.live(t, "gate")
	var got announced
	if err := json.Unmarshal([]byte(w.sub.last("/config").raw), &got); err != nil {
		t.Fatal(err)
	}
	w.cable.Pull()
	time.Sleep(25 * time.Second) // the last ten seconds are not historical
	w.cable.Plug()
	w.live(t, "gate")
	w.agent.stop()

	old := 0
	for _, a := range w.sub.on("store/gate") {
		if a.Historical {
			old++
		}
	}
	if old < 1000 {
		t.Errorf("%d readings waited: too few to prove anything", old)
	}
	newest := int64(0)
	for _, s := range w.sub.on(got.Components["gate"].StateTopic) {
		if s.Historical || s.TS < newest {
			t.Fatalf("the entity was changed by an old reading: %s", s.raw)
		}
		newest = s.TS
	}
	if newest == 0 {
		t.Errorf("the entity reads %q, where nothing was published", got.Components["gate"].StateTopic)
	}
}
