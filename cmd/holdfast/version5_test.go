package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestAShortCutDoesNotCryWolf: with MQTT 5 the will waits for mqtt.will_delay, and a new
// connection of the session prevents it.
func TestAShortCutDoesNotCryWolf(t *testing.T) {
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
	w.agent.impatient()
	w.agent.start()
	w.more(t, "load", 5)
	for range 3 {
		_, before := w.tap.snapshot()
		w.cable.Pull()
		w.cable.Plug()
		eventually(t, comesBack, "another connection", func() bool {
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
	w.agent.kill() // that the will goes out after its delay is for the table of brokers
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

// TestARetainedOrderIsRefusedWhileConnected: with MQTT 5 the broker tells that the sender wants
// it retained. With 3.1.1 it does not, and the order is done once.
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
