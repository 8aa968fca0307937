package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// orderAnswers are the answers to orders that arrived, as "output id result". An event may
// be delivered twice.
func (s *subscriber) orderAnswers() (all []string) {
	seen := map[key]bool{}
	for _, a := range s.on("store/agent/event") {
		var e struct{ Event, ID, Output, Result, Why string }
		if json.Unmarshal([]byte(a.raw), &e) == nil && e.Event == "command" && !seen[a.key()] {
			seen[a.key()] = true
			word, _, _ := strings.Cut(e.Why, ":")
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Output, e.ID, e.Result, word)))
		}
	}
	return all
}

// order publishes an order at QoS 1, and waits until the broker has it.
func (s *subscriber) order(t *testing.T, topic, payload string, retain bool) {
	t.Helper()
	if tok := s.client.Publish(topic, 1, retain, payload); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Fatalf("%s: %v", topic, tok.Error())
	}
}

// takesOrders waits until an order without an ID is executed: then the subscription is
// older than two seconds.
func (w *wired) takesOrders(t *testing.T) {
	t.Helper()
	var last time.Time
	eventually(t, time.Minute, "an order is done", func() bool {
		if time.Since(last) > time.Second {
			last = time.Now()
			w.sub.order(t, "store/siren/set", "OFF", false)
		}
		all := w.sub.orderAnswers()
		return len(all) > 0 && all[len(all)-1] == "siren  done"
	})
}

// refusesRetained waits until a retained order is refused, restarts the agent, and waits
// until it is refused again.
func (w *wired) refusesRetained(t *testing.T) {
	t.Helper()
	if by5 { // the subscription excludes it, so the broker does not send it
		w.agent.stop()
		w.agent.start()
		w.more(t, "load", 20)
		return
	}
	retained := func() int {
		return strings.Count(strings.Join(w.sub.orderAnswers(), "\n")+"\n", "siren  refused retained\n")
	}
	eventually(t, time.Minute, "the retained order is refused", func() bool { return retained() == 1 })
	w.agent.stop()
	w.agent.start()
	eventually(t, time.Minute, "the retained order is refused again", func() bool { return retained() == 2 })
}

// TestOrdersReachAnOutput through a real broker: a retained one is never executed, whatever
// is restarted, and one with an ID is executed once.
func TestOrdersReachAnOutput(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, counter+`
outputs:
  siren: {kind: simulated, class: siren, max_on: 3m, commands: true}
  bell: {kind: simulated, max_on: 3m}
commands: {max_age: 30s}
clock: {trust: always}
`)
	w.sub.order(t, "store/siren/set", "ON", true)
	w.agent.start()
	w.more(t, "load", 1)
	w.refusesRetained(t)
	w.takesOrders(t)

	before := len(w.sub.orderAnswers())
	for range 5 {
		w.sub.order(t, "store/siren/set", `{"state":"ON","for":"1m","id":"a1"}`, false)
	}
	w.sub.order(t, "store/siren/set", fmt.Sprintf(`{"state":"OFF","id":"late","expires":%d}`,
		time.Now().Add(-time.Second).UnixMilli()), false)
	w.sub.order(t, "store/bell/set", "ON", false)
	w.sub.order(t, "store/siren/set", `{"state":"ON","duration":20,"id":"ha"}`, false)
	got := func() string { return strings.Join(w.sub.orderAnswers()[before:], "\n") + "\n" }
	eventually(t, time.Minute, "seven orders are answered", func() bool { return strings.Count(got(), "\n") >= 7 })
	for answer, want := range map[string]int{"siren a1 done\n": 1, "siren a1 duplicate": 4,
		"siren late expired expires has passed\n": 1, "siren ha done\n": 1} {
		if n := strings.Count(got(), answer); n != want {
			t.Errorf("%q came %d times, want %d:\n%s", answer, n, want, got())
		}
	}
	if n := len(w.sub.on("store/bell")); n > 2 { // one at each start
		t.Errorf("an output without commands made %d readings", n)
	}
	on := w.sub.last("store/siren")
	if on.State != "on" || !strings.Contains(on.raw, `"by":"order:`) || !strings.Contains(on.raw, `"until":`) {
		t.Errorf("the change is %s", on.raw)
	}

	// IDs of executed orders are known after a reload, which creates a new link. The old link
	// takes orders until then, and orders in between are lost: so the order is sent again.
	w.agent.reload(func(text string) string { return strings.Replace(text, "max_age: 30s", "max_age: 31s", 1) })
	var last time.Time
	eventually(t, time.Minute, "the copy is answered", func() bool {
		if time.Since(last) > time.Second {
			last = time.Now()
			w.sub.order(t, "store/siren/set", `{"state":"OFF","id":"a1"}`, false)
		}
		return strings.Count(got(), "siren a1 duplicate done\n") > 4
	})
	w.agent.stop()
}

// TestOrdersQueuedDuringAnOutageAreNotExecuted: with MQTT 5 the broker queues orders as
// long as the session lasts. One with a time limit that has not passed is executed; with
// 3.1.1 both are lost.
func TestOrdersQueuedDuringAnOutageAreNotExecuted(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, counter+`
outputs:
  siren: {kind: simulated, class: siren, max_on: 3m, commands: true}
commands: {max_age: 1s}
clock: {trust: always}
`)
	text, err := os.ReadFile(w.agent.configPath())
	if err != nil {
		t.Fatal(err)
	}
	w.agent.configure(strings.Replace(string(text), "mqtt: {", "mqtt: {will_delay: 5m, ", 1))
	w.agent.retrySoon()
	w.agent.start()
	w.takesOrders(t)
	w.cable.Pull()
	w.sub.order(t, "store/siren/set", `{"state":"ON","id":"kept"}`, false)
	w.sub.order(t, "store/siren/set", fmt.Sprintf(`{"state":"ON","id":"valid","expires":%d}`,
		time.Now().Add(10*time.Minute).UnixMilli()), false)
	w.cable.Plug()
	w.more(t, "load", 20)
	got := func() string { return strings.Join(w.sub.orderAnswers(), "\n") + "\n" }
	if by5 {
		eventually(t, reconnectLimit, "both are answered", func() bool {
			return strings.Contains(got(), "siren kept refused unsure\n") && strings.Contains(got(), "siren valid done\n")
		})
	}
	w.agent.stop()
	if strings.Contains(got(), "siren kept done") {
		t.Errorf("the order of before was done:\n%s", got())
	}
}

// TestRetainedOrderIsNeverExecuted: it is refused once at each of ten starts of the broker,
// and stays on the broker.
func TestRetainedOrderIsNeverExecuted(t *testing.T) {
	takesLong(t)
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, counter+`
outputs:
  siren: {kind: simulated, class: siren, max_on: 3m, commands: true}
`)
	w.sub.order(t, "store/siren/set", "ON", true)
	w.agent.retrySoon()
	w.agent.start()
	const starts = 10
	for n := range starts + 1 {
		if by5 { // the broker does not send it
			w.more(t, "load", 3)
		} else {
			eventually(t, reconnectLimit, "the retained order is refused", func() bool { return len(w.sub.orderAnswers()) > n })
		}
		if n < starts {
			time.Sleep(2 * time.Second) // the broker saves retained messages every second
			w.broker.stop()
			w.broker.start()
		}
	}
	w.more(t, "load", 20)
	for _, answer := range w.sub.orderAnswers() {
		if answer != "siren  refused retained" {
			t.Errorf("answered with %q", answer)
		}
	}
	if n := len(w.sub.orderAnswers()); n != starts+1 && !by5 || n > 0 && by5 {
		t.Errorf("%d answers in %d connections", n, starts+1)
	}
	for _, a := range w.sub.on("store/siren") {
		if a.State != "off" {
			t.Errorf("the siren moved: %s", a.raw)
		}
	}
}
