package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// An acl is what an agent, which has no user name, may do with a broker. The
// recorder may do everything.
type acl struct {
	t    *testing.T
	path string
}

func newACL(t *testing.T, agents string) *acl {
	a := &acl{t, filepath.Join(t.TempDir(), "acl")}
	a.allow(agents)
	return a
}

func (a *acl) allow(agents string) {
	a.t.Helper()
	if err := os.WriteFile(a.path, []byte("topic "+agents+" #\nuser recorder\ntopic readwrite #\n"), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// guarded is wired, with a broker that has an access list.
func guarded(t *testing.T, a *acl, sensors string) *wired {
	t.Helper()
	// With max_queued_messages 0, Mosquitto 2.0.11 closes the connection for a publish that is denied.
	w := &wired{broker: startMosquitto(t, "max_queued_messages 100000\nacl_file "+a.path+"\n"), tap: newWiretap(0)}
	w.sub = subscribeWith(t, mqtt.NewClientOptions().AddBroker("tcp://"+w.broker.addr).SetUsername("recorder"), "#")
	var err error
	if w.cable, err = cable.New(w.broker.addr, w.tap.tap); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cable.Close() })
	w.agent = newAgent(t, w.guardedConfig("", sensors))
	return w
}

func (w *wired) guardedConfig(keys, sensors string) string {
	return fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"%s}\nqueue: {path: %%DIR%%/queue.db}\nsensors:\n%s", w.cable.Addr(), keys, sensors)
}

// arrivedWhole waits until a stream has arrived from its first reading up to one
// that was made later than now: nothing is lost, whatever was acknowledged.
func (w *wired) arrivedWhole(t *testing.T, stream string, most time.Duration) {
	t.Helper()
	now := time.Now()
	eventually(t, most, stream+" is live", func() bool { return w.sub.last("store/"+stream).TS > now.UnixMilli() })
	seen, last := map[uint64]bool{}, uint64(0)
	for _, a := range w.sub.on("store/" + stream) {
		seen[a.Seq], last = true, max(last, a.Seq)
	}
	if n := int(last) - len(seen); n != 0 {
		t.Errorf("%s: %d of %d readings are lost", stream, n, last)
	}
}

const heldSensors = `
  load: {kind: simulated, counter: {}, every: 100ms}
  gate: {kind: simulated, steps: {states: [closed, open], every: 700ms}, alarm: true}
`

// TestADeniedBacklogIsKept: Mosquitto acknowledges what its access list denies.
func TestADeniedBacklogIsKept(t *testing.T) {
	t.Parallel()
	a := newACL(t, "read")
	w := guarded(t, a, heldSensors)
	w.agent.start()
	eventually(t, 30*time.Second, "the log says that publishing is denied, perhaps", func() bool {
		log := w.agent.log.String()
		return strings.Contains(log, "the backlog is held") && strings.Contains(log, "access list denies")
	})
	boot := ""
	eventually(t, 5*time.Second, "alarms are sent all the same", func() bool {
		w.tap.mu.Lock()
		defer w.tap.mu.Unlock()
		for k := range w.tap.acked {
			if k.topic == "store/gate" && k.seq > 10 {
				boot = k.boot
			}
		}
		return boot != ""
	})
	if n := len(w.sub.on("store/load")) + len(w.sub.on("store/gate")); n != 0 {
		t.Fatalf("%d readings arrived: the access list denies nothing", n)
	}
	a.allow("readwrite")
	w.broker.cmd.Process.Signal(syscall.SIGHUP)
	w.arrivedWhole(t, "load", 90*time.Second) // it tries again after a minute
	w.arrivedWhole(t, "gate", 10*time.Second)
	w.agent.stop()
	if n := strings.Count(w.agent.log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log, want one", n)
	}
}

// TestAnAccountThatMayOnlyWrite cannot prove that it may: alarms go, and health
// says that the rest is held, until mqtt.prove_publish is false.
func TestAnAccountThatMayOnlyWrite(t *testing.T) {
	t.Parallel()
	w := guarded(t, newACL(t, "write"), heldSensors)
	w.agent.start()
	eventually(t, 30*time.Second, "health says that the backlog is held", func() bool {
		var health struct {
			Held    string
			Backlog int
		}
		json.Unmarshal([]byte(w.sub.last("store/agent/health").raw), &health)
		return health.Held != "" && health.Backlog > 100
	})
	eventually(t, 10*time.Second, "alarms arrive", func() bool { return len(w.sub.on("store/gate")) > 20 })
	if n := len(w.sub.on("store/load")); n != 0 {
		t.Errorf("%d routine readings went without proof", n)
	}
	if log := w.agent.log.String(); !strings.Contains(log, "mqtt.prove_publish: false") {
		t.Error("the log does not name the switch")
	}
	w.agent.configure(w.guardedConfig(", prove_publish: false", heldSensors))
	w.agent.cmd.Process.Signal(syscall.SIGHUP)
	w.arrivedWhole(t, "load", 30*time.Second)
	w.arrivedWhole(t, "gate", 10*time.Second)
	w.agent.stop()
}
