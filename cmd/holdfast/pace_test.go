package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// waiting is the number of readings of a stream in the agent's queue file, -1 without a
// file.
func (a *agent) waiting(stream string) int {
	text, err := a.exported()
	if err != nil {
		return -1
	}
	return strings.Count(text, fmt.Sprintf(`"stream":%q`, stream))
}

// exported is the output of `queue export` for the agent's queue file.
func (a *agent) exported() (string, error) {
	cmd := exec.Command(os.Args[0], "queue", "export", "-c", a.configPath())
	cmd.Env = append(os.Environ(), agentEnv+"=1")
	out, err := cmd.Output()
	return string(out), err
}

// slowly makes a handler take 2 ms for each message on average: after a sleep that was too
// long the next ones are shorter.
func slowly(handle mqtt.MessageHandler) mqtt.MessageHandler {
	var free time.Time
	return func(c mqtt.Client, m mqtt.Message) {
		if now := time.Now(); free.Before(now.Add(-time.Second)) {
			free = now
		}
		free = free.Add(2 * time.Millisecond)
		time.Sleep(time.Until(free))
		handle(c, m)
	}
}

// TestSlowSubscriberGetsTheWholeBacklog: Mosquitto queues 1,000 messages for a subscriber
// by default, and acknowledges and drops further ones. Without the rate limit the same
// backlog does not arrive completely.
func TestSlowSubscriberGetsTheWholeBacklog(t *testing.T) {
	takesLong(t)
	t.Parallel()
	for _, c := range []struct {
		name, drain string
		whole       bool
	}{{"default", "", true}, {"unpaced", "drain: {rate: 0}\n", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			broker := startMosquitto(t, "max_queued_messages 1000\n")
			sub := &subscriber{}
			o := mqtt.NewClientOptions().AddBroker("tcp://" + broker.addr).SetClientID("slow").
				SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond)
			sub.client = mqtt.NewClient(o)
			if tok := sub.client.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
				t.Fatal(tok.Error())
			}
			t.Cleanup(func() { sub.client.Disconnect(0) })
			if tok := sub.client.Subscribe("+/+", 1, slowly(sub.arrived)); !tok.WaitTimeout(time.Minute) ||
				tok.Error() != nil {
				t.Fatal(tok.Error())
			}

			const config = "client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: " +
				"%%DIR%%/queue.db}\n%ssensors:\n  %s\n"
			a := newAgent(t, fmt.Sprintf(config, freeAddr(t), c.drain,
				"load: {kind: simulated, counter: {}, every: 1ms}"))
			a.start()
			eventually(t, time.Minute, "a backlog of 4,000 readings", func() bool {
				time.Sleep(500 * time.Millisecond)
				return a.waiting("load") >= 4000
			})
			a.stop()
			n := a.waiting("load")
			if n < 4000 {
				t.Fatalf("the backlog has %d readings", n)
			}

			a.configure(fmt.Sprintf(config, broker.addr, c.drain, "live: {kind: simulated, counter: {}, every: 100ms}"))
			began := time.Now()
			a.start()
			eventually(t, 2*time.Minute, "the broker has the backlog", func() bool {
				time.Sleep(200 * time.Millisecond)
				return a.waiting("load") == 0
			})
			took, now := time.Since(began), time.Now().UnixMilli()
			eventually(t, time.Minute, "the subscriber has taken all that the broker holds", func() bool {
				return sub.last("/live").TS > now
			})
			a.stop()
			seen := map[uint64]bool{}
			for _, r := range sub.on("/load") {
				seen[r.Seq] = true
			}
			t.Logf("%d of %d arrived; the broker had them in %v", len(seen), n, took.Round(time.Millisecond))
			if whole := len(seen) == n; whole != c.whole {
				t.Errorf("%d of %d readings arrived, want all: %v", len(seen), n, c.whole)
			}
		})
	}
}
