package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// TestTakeOverIsReportedByBothAgents: two agents have the same client ID.
func TestTakeOverIsReportedByBothAgents(t *testing.T) {
	takesLong(t)
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, "  load: {kind: simulated, counter: {}, every: 1s}\n")
	w.agent.start()
	eventually(t, time.Minute, "online", func() bool { return w.sub.last("store/agent/info").topic != "" })
	other := newAgent(t,
		fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %%DIR%%/queue.db}\n"+
			"sensors:\n  load: {kind: simulated, counter: {}, every: 1s}\n", w.cable.Addr()))
	other.start()
	began := time.Now()
	tells := func(a *agent) bool { return strings.Contains(a.log.String(), `another client uses \"store\"`) }
	eventually(t, time.Minute, "both agents say so", func() bool { return tells(w.agent) && tells(other) })
	reported := time.Since(began)
	eventually(t, 3*time.Minute, "an event says so", func() bool {
		for _, e := range w.sub.on("store/agent/event") {
			if strings.Contains(e.raw, `"event":"take_over"`) && strings.Contains(e.raw, `"client_id":"store"`) {
				return true
			}
		}
		return false
	})
	time.Sleep(time.Until(began.Add(time.Minute)))
	_, conns := w.tap.snapshot()
	n := 0
	for _, at := range conns {
		if at.After(began) && at.Before(began.Add(time.Minute)) {
			n++
		}
	}
	t.Logf("%d connections in a minute, reported after %v", n, reported.Round(time.Second))
	if n > 20 {
		t.Errorf("%d connections in a minute: that is a fight", n)
	}
}

// TestAgentConnectsToTheNextServer, and to the first again when the second stops.
func TestAgentConnectsToTheNextServer(t *testing.T) {
	takesLong(t)
	t.Parallel()
	brokers := []*mosquitto{startMosquitto(t, persistent), startMosquitto(t, persistent)}
	subs := []*subscriber{subscribe(t, brokers[0].addr, "store/#"), subscribe(t, brokers[1].addr, "store/#")}
	a := newAgent(t,
		fmt.Sprintf("client_id: store\nmqtt: {servers: [\"mqtt://%s\", \"mqtt://%s\"]}\nqueue: {path: "+
			"%%DIR%%/queue.db}\n"+
			"sensors:\n  load: {kind: simulated, counter: {}, every: 50ms}\n", brokers[0].addr, brokers[1].addr))
	a.start()
	for i, at := range []int{0, 1, 0} {
		now := time.Now().UnixMilli()
		eventually(t, time.Minute, fmt.Sprintf("broker %d gets what is measured", at), func() bool {
			return subs[at].last("store/load").TS > now
		})
		if i < 2 {
			brokers[at].stop()
		}
		if i == 1 {
			brokers[0].start()
		}
	}
	a.stop()
	brokers[1].start() // it may have messages that it has not forwarded before it was stopped
	eventually(t, time.Minute, "every reading has arrived at one broker or the other", func() bool {
		seen, last := map[uint64]bool{}, uint64(0)
		for _, s := range subs {
			for _, r := range s.on("store/load") {
				seen[r.Seq], last = true, max(last, r.Seq)
			}
		}
		return len(seen) == int(last)
	})
}

// A droppingTap is a tap that, once enabled, drops everything and closes nothing.
type droppingTap struct {
	cable.Tap
	enabled, ended chan struct{}
}

func (s *droppingTap) dropIfEnabled() {
	select {
	case <-s.enabled:
		<-s.ended
	default:
	}
}

func (s *droppingTap) ToServer(data []byte) { s.dropIfEnabled(); s.Tap.ToServer(data) }
func (s *droppingTap) ToClient(data []byte) { s.dropIfEnabled(); s.Tap.ToClient(data) }

// TestAHalfOpenLinkIsFoundIn30Seconds with the default keepalive, even if nothing is sent.
func TestAHalfOpenLinkIsFoundIn30Seconds(t *testing.T) {
	takesLong(t)
	t.Parallel()
	for name, every := range map[string]string{"busy": "100ms", "idle": "1h"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker, tap := startMosquitto(t, ""), newWiretap(0)
			enabled, ended := make(chan struct{}), make(chan struct{})
			var dry atomic.Bool
			c, err := cable.New(broker.addr, func() cable.Tap {
				if dry.Load() {
					return tap.tap()
				}
				return &droppingTap{tap.tap(), enabled, ended}
			}, cable.Link{})
			if err != nil {
				t.Fatal(err)
			}
			end := sync.OnceFunc(func() { close(ended) })
			t.Cleanup(func() { end(); c.Close() })
			sub := subscribe(t, broker.addr, "store/#")
			a := newAgent(t,
				fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %%DIR%%/queue.db}\n"+
					"sensors:\n  load: {kind: simulated, counter: {}, every: %s}\n", c.Addr(), every))
			a.start()
			eventually(t, time.Minute, "a reading", func() bool { return sub.count("store/load") > 0 })
			time.Sleep(3 * time.Second)
			dry.Store(true)
			close(enabled)
			began := time.Now()
			eventually(t, 33*time.Second, "the link is found dead (in 30 s, and what a busy machine adds)",
				func() bool {
					return strings.Contains(a.log.String(), "uplink down")
				})
			t.Logf("found after %v", time.Since(began).Round(time.Millisecond))
			eventually(t, time.Minute, "online again", func() bool {
				return strings.Count(a.log.String(), "uplink up") == 2 && sub.last("/agent/status").raw == "online"
			})
			a.stop()
		})
	}
}

// TestALateWillIsCorrectedOnMosquitto: the will of an earlier connection is published after
// the agent has reconnected.
func TestALateWillIsCorrectedOnMosquitto(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, "")
	o := mqtt.NewClientOptions().AddBroker("tcp://"+w.cable.Addr()).SetClientID("of-before").SetAutoReconnect(false).
		SetWill("store/agent/status", "offline", 1, true)
	before := mqtt.NewClient(o)
	if tok := before.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	w.agent.configure(fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\", bind: lo}\nqueue: {path: "+
		"%%DIR%%/queue.db}\n"+
		"sensors:\n  load: {kind: simulated, counter: {}, every: 1s}\n", w.broker.addr)) // not through the cable
	w.agent.start()
	eventually(t, time.Minute, "online", func() bool { return w.sub.last("/agent/status").raw == "online" })
	w.cable.Cut()
	eventually(t, time.Minute, "the will, and the correction", func() bool {
		words := w.sub.on("/agent/status")
		return len(words) >= 3 && words[len(words)-2].raw == "offline" && words[len(words)-1].raw == "online"
	})
	w.agent.stop()
}
