package main

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A topicTap counts what an agent publishes with MQTT 5, by topic. Its connections follow
// each other, so they can share the buffer of an incomplete packet.
type topicTap struct {
	mu      sync.Mutex // guards the fields below
	rest    []byte
	topics  map[string]int
	aliases map[uint16]string // of the connection
}

func (c *topicTap) tap() cable.Tap {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest, c.aliases = nil, map[uint16]string{}
	return c
}

func (c *topicTap) ToClient([]byte) {}

func (c *topicTap) ToServer(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = packets(append(c.rest, data...), func(head byte, body []byte) {
		if head>>4 != packetPublish || len(body) < 2 {
			return
		}
		c.topics[c.topicLocked(head, body)]++
	})
}

// topicLocked is the topic of a PUBLISH, even if it has only an alias: the agent writes the
// alias before other properties.
func (c *topicTap) topicLocked(head byte, body []byte) string {
	n := int(binary.BigEndian.Uint16(body))
	topic, rest := string(body[2:2+n]), body[2+n:]
	if head>>1&3 > 0 {
		rest = rest[2:] // the packet ID
	}
	if size, n := binary.Uvarint(rest); size >= 3 && rest[n] == 0x23 {
		alias := binary.BigEndian.Uint16(rest[n+1:])
		if topic != "" {
			c.aliases[alias] = topic
		}
		return c.aliases[alias]
	}
	return topic
}

func (c *topicTap) count(topic string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.topics[topic]
}

// TestMQTT5DenialIsReportedAtOnce: Mosquitto answers a denied publish with reason 0x87. The
// backlog is held at the first answer, the log names the topic, and no canary is published;
// when the access list allows the topic, every reading arrives.
func TestMQTT5DenialIsReportedAtOnce(t *testing.T) {
	takesLong(t)
	t.Parallel()
	a := newACL(t, "read")
	tap := &topicTap{topics: map[string]int{}}
	w := &wired{broker: startMosquitto(t, "max_queued_messages 100000\nacl_file "+a.path+"\n"), tap: newWiretap(0)}
	w.sub = subscribeWith(t, mqtt.NewClientOptions().AddBroker("tcp://"+w.broker.addr).SetUsername("recorder"), "#")
	var err error
	if w.cable, err = link.New(w.broker.addr, tap.tap, link.Shape{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cable.Close() })
	w.agent = newAgent(t, w.guardedConfig(", version: 5", heldSensors))
	w.agent.start()
	eventually(t, time.Minute, "the log names what is denied", func() bool {
		log := w.agent.log.String()
		return strings.Contains(log, "the backlog is held") && strings.Contains(log, "not authorised") &&
			strings.Contains(log, "topic=store/")
	})
	t.Logf("held %v after \"uplink up\"", between(t, w.agent.log.String(), "uplink up", "the backlog is held"))
	eventually(t, time.Minute, "alarms are sent all the same", func() bool { return tap.count("store/gate") > 3 })
	if n := w.sub.count("store/load") + len(w.sub.on("store/gate")); n != 0 {
		t.Fatalf("%d readings arrived: the access list denies nothing", n)
	}
	a.allow("readwrite")
	w.broker.cmd.Process.Signal(syscall.SIGHUP)
	w.arrivedWhole(t, "load") // the agent tries again after a minute
	w.arrivedWhole(t, "gate")
	w.agent.stop()
	if n := tap.count("store/agent/canary"); n > 0 {
		t.Errorf("%d canaries were published", n)
	}
	if tap.count("store/load") == 0 {
		t.Error("the tap has seen no reading: it sees no topics")
	}
}

// between is the time from the first log line with one text to the first with another.
func between(t *testing.T, log, from, to string) time.Duration {
	t.Helper()
	at := func(words string) (when time.Time, err error) {
		for line := range strings.Lines(log) {
			if strings.Contains(line, words) {
				text, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
				return time.Parse(time.RFC3339, text)
			}
		}
		return when, fmt.Errorf("no line of the log has %q", words)
	}
	first, err := at(from)
	if err != nil {
		t.Fatal(err)
	}
	second, err := at(to)
	if err != nil {
		t.Fatal(err)
	}
	return second.Sub(first)
}
