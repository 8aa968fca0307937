package outputs

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// answers collects the answers to orders, by their cause.
type answers struct{ answers chan string }

func (c answers) order(o Order) Order {
	o.Answer = func(a Answer) { c.answers <- fmt.Sprint(o.By, " ", a.Done, " ", a.Why) }
	return o
}

// all returns the answers so far, in order.
func (c answers) all() (all []string) {
	for len(c.answers) > 0 {
		all = append(all, <-c.answers)
	}
	return all
}

// TestRuleFiresDuringAReload: its order is not lost, because a rule fires only once. An order by
// MQTT is refused, and its sender gets an answer.
func TestRuleFiresDuringAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := newHouse(t, spec("siren", nil)), answers{make(chan string, 10)}
		defer h.stop()
		changed := spec("siren", func(s *Spec) { s.MaxOn = 2 * time.Minute })
		h.Change(h.ctx, []Spec{changed}, func([]Spec) {
			h.Do(c.order(on("siren", time.Minute, "rule:flood")))
			h.Do(c.order(off("siren", "arming")))
			h.Do(c.order(on("siren", time.Minute, "rule:intruder")))
			remote := on("siren", time.Minute, "order:a1")
			remote.Remote = true
			h.Do(c.order(remote))
		})
		synctest.Wait()
		want := []string{"order:a1 false reload: the output is being changed",
			"rule:flood true ", "arming true ", "rule:intruder true "}
		if got := c.all(); !slices.Equal(got, want) {
			t.Errorf("answers %q", got)
		}
		if !h.lines["siren"].is() {
			t.Error("the siren is silent")
		}
		time.Sleep(time.Minute + time.Second)
		if h.lines["siren"].is() {
			t.Error("it does not end")
		}
	})
}

// TestOrdersThatWaitWhenAReloadBegins: the new output executes them before later ones.
func TestOrdersThatWaitWhenAReloadBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := newHouse(t, spec("siren", nil)), answers{make(chan string, 10)}
		defer h.stop()
		line := h.lines["siren"]
		line.with(func(l *fakeLine) { l.slow = 400 * time.Millisecond })
		h.Do(c.order(on("siren", time.Minute, "rule:a"))) // its two calls take 800 ms
		time.Sleep(100 * time.Millisecond)
		h.Do(c.order(off("siren", "arming")))
		h.Do(c.order(on("siren", time.Minute, "rule:b")))
		changed := spec("siren", func(s *Spec) { s.MaxOn = 2 * time.Minute })
		h.Change(h.ctx, []Spec{changed}, func([]Spec) { h.Do(c.order(off("siren", "rule:c"))) })
		time.Sleep(10 * time.Second)
		want := []string{"rule:a true ", "arming true ", "rule:b true ", "rule:c true "}
		if got := c.all(); !slices.Equal(got, want) {
			t.Errorf("answers %q", got)
		}
		if line.is() {
			t.Error("the last order was to be off")
		}
	})
}

// TestSlowLineDoesNotDelayShutdown: waiting orders are not executed any more.
func TestSlowLineDoesNotDelayShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := newHouse(t, spec("siren", nil)), answers{make(chan string, 100)}
		h.lines["siren"].with(func(l *fakeLine) { l.slow = 400 * time.Millisecond })
		h.Do(c.order(on("siren", 0, "rule:a")))
		time.Sleep(100 * time.Millisecond)
		for range 20 {
			h.Do(c.order(off("siren", "rule:b")))
			h.Do(c.order(on("siren", 0, "rule:c")))
		}
		time.Sleep(time.Second) // all are taken out of the inbox, and the first one is executed
		began := time.Now()
		h.stop()
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("the end took %v", d)
		}
		if answers := len(c.all()); answers != 41 || h.lines["siren"].is() {
			t.Errorf("%d answers, the siren is %s", answers, word(h.lines["siren"].is()))
		}
	})
}

// TestOrdersByMQTTLeaveRoomForRules: for any number of them that wait for a slow line.
func TestOrdersByMQTTLeaveRoomForRules(t *testing.T) {
	i := newInbox()
	remote := Order{On: true, Remote: true}
	accepted := 0
	for range 2 * maxOrders {
		if i.put(remote, false) == "" {
			accepted++
		}
	}
	if accepted != maxRemote {
		t.Errorf("%d by MQTT wait", accepted)
	}
	if refused := i.put(Order{On: true, By: "rule:flood"}, false); refused != "" {
		t.Errorf("the rule is refused: %s", refused)
	}
	if refused := i.put(Order{Remote: true}, false); refused != "" {
		t.Errorf("an order to be off is refused: %s", refused)
	}
}
