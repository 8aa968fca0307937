package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestShortOutagePublishesNoWill: with MQTT 5 the will is delayed by mqtt.will_delay, and a
// new connection of the session cancels it.
func TestShortOutagePublishesNoWill(t *testing.T) {
	if !by5 {
		t.Skip("MQTT 3.1.1 has no will delay")
	}
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, counter)
	text, err := os.ReadFile(w.agent.configPath())
	if err != nil {
		t.Fatal(err)
	}
	w.agent.configure(strings.Replace(string(text), "mqtt: {", "mqtt: {will_delay: 30s, ", 1))
	w.agent.retrySoon()
	w.agent.start()
	w.more(t, "load", 5)
	for range 3 {
		_, before := w.tap.snapshot()
		w.cable.Pull()
		w.cable.Plug()
		eventually(t, reconnectLimit, "another connection", func() bool {
			_, conns := w.tap.snapshot()
			return len(conns) > len(before)
		})
		w.more(t, "load", 5)
	}
	for _, a := range w.sub.on("store/agent/status") {
		if a.raw != "online" {
			t.Errorf("the status said %q", a.raw)
		}
	}
	w.agent.kill() // build/brokers tests that the will is published after the delay
	time.Sleep(time.Second)
	if last := w.sub.last("store/agent/status"); last.raw != "online" {
		t.Errorf("a second after the end the status says %q", last.raw)
	}
}

// TestTheVersionIsInTheLogAndInStatus.
func TestTheVersionIsInTheLogAndInStatus(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, counter)
	w.agent.start()
	w.more(t, "load", 5)
	want := "3.1.1"
	if by5 {
		want = "5"
	}
	s, ok := w.agent.status()
	if !ok || s.Link.MQTT != want || !strings.Contains(w.agent.log.String(), " mqtt="+want+" ") {
		t.Errorf("status says %q, want %s; the log:\n%s", s.Link.MQTT, want, w.agent.log.String())
	}
	w.agent.stop()
}

// TestFailOverToABrokerWithoutMQTT5: the agent uses MQTT 5 with a real broker, and after a
// fail-over the next broker closes the connection for version 5. After one such CONNECT the
// agent continues with 3.1.1.
func TestFailOverToABrokerWithoutMQTT5(t *testing.T) {
	t.Parallel()
	broker := startMosquitto(t, persistent)
	w := &wired{sub: subscribe(t, broker.addr, "store/#"), tap: newWiretap(0)}
	var older atomic.Bool
	place := newFilterProxy(t, broker.addr, func(kind byte, topic string, _ int) bool {
		return kind == connects && topic == "MQTT\x05" && older.Load()
	})
	w.agent = newAgent(t, fmt.Sprintf("client_id: store\nmqtt: {version: auto, server: \"mqtt://%s\"}\n"+
		"queue: {path: %%DIR%%/queue.db}\nsensors:\n%s", place.listener.Addr(), counter))
	w.agent.start()
	w.more(t, "load", 5)
	if s, ok := w.agent.status(); !ok || s.Link.MQTT != "5" {
		t.Errorf("at first by MQTT %q", s.Link.MQTT)
	}
	older.Store(true)
	place.cut()
	w.more(t, "load", 20)
	if s, ok := w.agent.status(); !ok || s.Link.MQTT != "3.1.1" {
		t.Errorf("after the fail-over by MQTT %q", s.Link.MQTT)
	}
	w.agent.stop()
	w.checkComplete(t, "load")
	log := w.agent.log.String()
	place.mu.Lock()
	defer place.mu.Unlock()
	if n := strings.Count(log, "the broker does not take MQTT 5"); n != 1 || place.closed != 1 {
		t.Errorf("%d CONNECTs were refused, and the log says so %d times:\n%s", place.closed, n, log)
	}
}

// TestARetainedOrderIsRefusedWhileConnected: with MQTT 5 the broker forwards the retain
// flag. With 3.1.1 it does not, and the order is executed once.
func TestARetainedOrderIsRefusedWhileConnected(t *testing.T) {
	if !by5 {
		t.Skip("MQTT 3.1.1 does not tell")
	}
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, counter+`
outputs:
  siren: {kind: simulated, class: siren, max_on: 3m, commands: true}
clock: {trust: always}
`)
	w.agent.start()
	w.takesOrders(t)
	before := len(w.sub.orderAnswers())
	w.sub.order(t, "store/siren/set", "ON", true)
	eventually(t, time.Minute, "the order is answered", func() bool { return len(w.sub.orderAnswers()) > before })
	if got := w.sub.orderAnswers()[before]; got != "siren  refused retained" {
		t.Errorf("the answer is %q", got)
	}
	w.agent.stop()
}
