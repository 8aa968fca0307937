package uplink

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// manyStreams makes birth and announcement larger than 1,000 bytes.
func manyStreams(o *Options) {
	for i := range 20 {
		o.Streams = append(o.Streams, sensors.Stream{Name: fmt.Sprintf("sensor_number_%d", i)})
	}
}

func onTopic(topics ...string) func(mqtt.Message) bool {
	return func(m mqtt.Message) bool {
		for _, t := range topics {
			if strings.HasPrefix(m.Topic, t) {
				return true
			}
		}
		return false
	}
}

func subscribing(topic string) func(string) bool {
	return func(t string) bool { return t == topic }
}

// What a broker may close the connection for, that the agent says of itself.
var closings = map[string]struct {
	publish   func(mqtt.Message) bool
	subscribe func(string) bool
	named     []string // topics that log and health name
}{
	"a packet of 1,000 bytes": {publish: func(m mqtt.Message) bool { return len(m.Payload) > 1000 },
		named: []string{"porch/agent/info", "homeassistant/device/porch/config"}},
	"homeassistant/#": {publish: onTopic("homeassistant/"), subscribe: subscribing("homeassistant/status"),
		named: []string{"homeassistant/device/porch/config", "homeassistant/status"}},
	"info":                       {publish: onTopic("porch/agent/info"), named: []string{"porch/agent/info"}},
	"health":                     {publish: onTopic("porch/agent/health"), named: []string{"porch/agent/health"}},
	"canary":                     {publish: onTopic("porch/agent/canary"), named: []string{"porch/agent/canary"}},
	"status":                     {publish: onTopic("porch/agent/status"), named: []string{"porch/agent/status"}},
	"subscription to the canary": {subscribe: subscribing("porch/agent/canary"), named: []string{"porch/agent/canary"}},
	"subscription to the status": {subscribe: subscribing("porch/agent/status"), named: []string{"porch/agent/status"}},
	"all of agent/ but events": {
		publish:   onTopic("porch/agent/status", "porch/agent/info", "porch/agent/health", "porch/agent/canary"),
		subscribe: func(string) bool { return true }, named: []string{"porch/agent/info", "porch/agent/canary"}},
}

// TestRefusedNoticesDoNotBlockReadings: a broker closes the connection for it,
// for ever. Readings and alarms arrive, and log and health say what does not.
func TestRefusedNoticesDoNotBlockReadings(t *testing.T) {
	for name, c := range closings {
		t.Run(name, func(t *testing.T) {
			conns := 0
			br, log := up(t, func(l *Link, br *broker, bl *backlog) {
				br.set(func() { br.closesFor, br.closesForTopic = c.publish, c.subscribe })
				fifty(bl)
				bl.put(alarmOf("door", 1))
				time.Sleep(40 * time.Second)
				if n := bl.left(); n != 0 {
					t.Errorf("%d of 51 left after 40 s", n)
				}
				worst := 0
				for seq := range uint64(600) {
					bl.put(reading("room", seq+51))
					time.Sleep(time.Second)
					worst = max(worst, bl.left())
				}
				if worst > 15 {
					t.Errorf("a reading waited for %d s", worst)
				}
				if n := bl.left(); n > 1 {
					t.Errorf("%d left after 10 minutes", n)
				}
				conns = br.connections()
				if info := br.kept("porch/agent/info"); strings.Contains(name, "bytes") && !strings.Contains(info,
					`"truncated":true`) {
					t.Errorf("no birth without its streams: %q", info)
				}
				if name == "a packet of 1,000 bytes" && br.kept("homeassistant/sensor/porch/room/config") == "" {
					t.Error("no announcement entity by entity")
				}
				if health := br.kept("porch/agent/health"); name != "health" && name != "all of agent/ but events" {
					checkDeferred(t, health, c.named)
				}
				time.Sleep(30 * time.Minute)
				if more := br.connections() - conns; more != 0 {
					t.Errorf("%d connections in half an hour", more)
				}
				br.set(func() { br.closesFor, br.closesForTopic = nil, nil })
				time.Sleep(3 * time.Hour)
				if health := br.kept("porch/agent/health"); strings.Contains(health, "deferred") {
					t.Errorf("deferred although the broker takes all: %s", health)
				}
				if single := br.kept("homeassistant/sensor/porch/room/config"); single != "" {
					t.Errorf("beside the whole announcement: %s", single)
				}
				for _, topic := range []string{"porch/agent/info", "porch/agent/status",
					"homeassistant/device/porch/config"} {
					if br.kept(topic) == "" {
						t.Errorf("nothing on %s", topic)
					}
				}
			}, atHome, manyStreams)
			inOrder(t, br, "porch/room", 650)
			for _, topic := range c.named {
				if n := errorsAbout(log, topic); n == 0 {
					t.Errorf("the log does not name %s", topic)
				}
			}
			if n := strings.Count(log, "level=ERROR"); n > 2*len(c.named) && name != "all of agent/ but events" {
				t.Errorf("%d errors", n)
			}
			if n := strings.Count(log, "\n"); n > 60 {
				t.Errorf("%d lines", n)
			}
			if conns > 30 || t.Failed() {
				t.Errorf("%d connections; the log:\n%s", conns, log)
			}
		})
	}
}

func errorsAbout(log, topic string) (n int) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=ERROR") && strings.Contains(line, topic) {
			n++
		}
	}
	return n
}

func checkDeferred(t *testing.T, health string, topics []string) {
	t.Helper()
	var h struct{ Deferred []deferredNotice }
	json.Unmarshal([]byte(health), &h)
	for _, topic := range topics {
		found := false
		for _, d := range h.Deferred {
			found = found || d.Topic == topic
		}
		if !found {
			t.Errorf("health does not name %s: %s", topic, health)
		}
	}
}

// TestDeniedClearsDoNotBlockReadings: an earlier start fed 80 streams whose
// topics the access list does not allow any more.
func TestDeniedClearsDoNotBlockReadings(t *testing.T) {
	var streams []string
	for i := range 80 {
		streams = append(streams, fmt.Sprintf(`"old%d":{}`, i))
	}
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() {
			br.retained["porch/agent/info"] = `{"boot":"1-11111111","streams":{"cellar":{},` + strings.Join(streams,
				",") + `}}`
			br.retained["porch/cellar/state"] = "4"
			br.closesFor = onTopic("porch/old")
		})
		fifty(bl)
		time.Sleep(40 * time.Second)
		if n := bl.left(); n != 0 {
			t.Errorf("%d of 50 left after 40 s", n)
		}
		time.Sleep(10 * time.Minute)
		if conns := br.connections(); conns > 8 {
			t.Errorf("%d connections", conns)
		}
		if br.kept("porch/cellar/state") != "" || !strings.Contains(br.kept("porch/agent/info"), l.opt.Boot) {
			t.Errorf("cellar %q, info %s", br.kept("porch/cellar/state"), br.kept("porch/agent/info"))
		}
	})
	inOrder(t, br, "porch/room", 50)
	if n := strings.Count(log, "cannot be cleared"); n == 0 || n > clearEnds {
		t.Errorf("told %d times:\n%s", n, log)
	}
}

// TestLinkThatDropsLargeMessages loses the birth and all that is behind it,
// without a word.
func TestLinkThatDropsLargeMessages(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.eats = func(m mqtt.Message) bool { return len(m.Payload) > 1000 } })
		fifty(bl)
		time.Sleep(40 * time.Second)
		if n := bl.left(); n != 0 {
			t.Errorf("%d of 50 left after 40 s", n)
		}
		for seq := range uint64(600) {
			bl.put(reading("room", seq+51))
			time.Sleep(time.Second)
		}
		if n := bl.left(); n > 1 {
			t.Errorf("%d left after 10 minutes", n)
		}
		if conns := br.connections(); conns > 10 {
			t.Errorf("%d connections", conns)
		}
		checkDeferred(t, br.kept("porch/agent/health"), []string{"porch/agent/info"})
	}, manyStreams, func(o *Options) { o.KeepAlive = 15 * time.Second })
	inOrder(t, br, "porch/room", 650)
	if errorsAbout(log, "porch/agent/info") != 1 || strings.Contains(log, "go without it\"") {
		t.Errorf("want one error about the birth:\n%s", log)
	}
}

// TestALinkThatIsCutDefersNothing: the cable is cut every 5 s, and every message
// gets through all the same.
func TestALinkThatIsCutDefersNothing(t *testing.T) {
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.rate = 2500 })
		for seq := range uint64(500) {
			bl.put(reading("room", seq+1))
		}
		for range 60 {
			time.Sleep(5 * time.Second)
			br.cut()
		}
		time.Sleep(3 * time.Minute)
		if health := br.kept("porch/agent/health"); strings.Contains(health, "deferred") ||
			br.kept("porch/agent/info") == "" {
			t.Errorf("health %s, info %q", health, br.kept("porch/agent/info"))
		}
	})
	if strings.Contains(log, "does not get through") || strings.Contains(log, "go without it") {
		t.Error(log)
	}
}

// TestLargeBirthIsBoundedAndNotEchoed: that of 4,000 streams.
func TestLargeBirthIsBoundedAndNotEchoed(t *testing.T) {
	for streams, whole := range map[int]bool{20: true, 1000: true, 4000: false} {
		br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
			time.Sleep(5 * time.Second)
			info := br.kept("porch/agent/info")
			if len(info) > maxBirth || whole == strings.Contains(info, "truncated") {
				t.Errorf("%d streams: a birth of %d bytes: %.200s", streams, len(info), info)
			}
			if heard := br.conn.hears("porch/agent/info"); heard != (len(info) < maxEcho) {
				t.Errorf("%d streams: we hear our birth of %d bytes: %v", streams, len(info), heard)
			}
		}, func(o *Options) {
			for i := range streams {
				o.Streams = append(o.Streams, sensors.Stream{Name: fmt.Sprintf("sensor_%d", i)})
			}
		})
		if br.conns != 1 {
			t.Errorf("%d streams: %d connections", streams, br.conns)
		}
	}
}

func (c *fakeConn) hears(topic string) bool {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return c.topics[topic]
}

// TestAMessageThatIsTooLargeCostsItsSubscriptionOnly: the birth of an earlier
// version, or one that somebody forged.
func TestAMessageThatIsTooLargeCostsItsSubscriptionOnly(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() {
			br.closesForTopic = func(topic string) bool {
				if topic == "porch/agent/info" {
					br.conn.why = &mqtt.ProtocolError{What: "a packet of 300000 bytes", Topic: topic, Bytes: 300_000}
				}
				return topic == "porch/agent/info"
			}
		})
		fifty(bl)
		time.Sleep(10 * time.Second)
		if n := bl.left(); n != 0 {
			t.Errorf("%d of 50 left after 10 s", n)
		}
		time.Sleep(30 * time.Minute)
		checkDeferred(t, br.kept("porch/agent/health"), []string{"porch/agent/info"})
	})
	if br.conns != 2 || errorsAbout(log, "porch/agent/info") != 1 {
		t.Errorf("%d connections:\n%s", br.conns, log)
	}
}

// TestBirthIsSentWhenTheBrokerClosesForTheProof: no canary comes back that the first
// birth could wait for.
func TestBirthIsSentWhenTheBrokerClosesForTheProof(t *testing.T) {
	for _, name := range []string{"canary", "subscription to the canary"} {
		t.Run(name, func(t *testing.T) {
			up(t, func(l *Link, br *broker, bl *backlog) {
				br.set(func() { br.closesFor, br.closesForTopic = closings[name].publish, closings[name].subscribe })
				fifty(bl)
				time.Sleep(10 * time.Minute)
				if br.kept("porch/agent/info") == "" || br.kept("homeassistant/device/porch/config") == "" {
					t.Errorf("info %q, announcement %q", br.kept("porch/agent/info"),
						br.kept("homeassistant/device/porch/config"))
				}
			}, atHome)
		})
	}
}

// TestFirstClearMayFailWhileAnotherNoticeIsASuspect: it goes alone because another notice
// is a suspect. The previous start was told entity by entity.
func TestFirstClearMayFailWhileAnotherNoticeIsASuspect(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() {
			br.retained["porch/agent/info"] = `{"boot":"1-11111111","truncated":true,"streams":{"old":{},"older":{}}}`
			br.closesFor = onTopic("porch/old")
		})
		fifty(bl)
		time.Sleep(10 * time.Minute)
		if n := bl.left(); n != 0 {
			t.Errorf("%d of 50 left", n)
		}
	})
}

// TestAQuietSessionKeepsOneHeartbeat: where nothing is acknowledged for weeks, the
// heartbeats at QoS 0 are not all kept.
func TestAQuietSessionKeepsOneHeartbeat(t *testing.T) {
	s := newSession(New(Options{}, nil, nil, slog.New(slog.DiscardHandler)), &fakeConn{})
	for range 1000 {
		s.completed(&sentMessage{Token: ackedToken{}, kind: kindOnce,
			notice: notice{id: noticeID{topic: "porch/agent/health"}}})
	}
	if n := len(s.notices.unconfirmed); n != 1 {
		t.Errorf("%d are kept", n)
	}
}
