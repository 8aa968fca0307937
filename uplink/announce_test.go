package uplink

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// topicsOf are the topics of what arrived, in order.
func (b *broker) topicsOf() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.got {
		names = append(names, m.Topic)
	}
	return names
}

// count says how often a topic was published to.
func (b *broker) count(topic string) (n int) {
	for _, name := range b.topicsOf() {
		if name == topic {
			n++
		}
	}
	return n
}

const announced = "homeassistant/device/porch/config"

func atHome(o *Options) { o.HomeAssistant = HomeAssistant{Discovery: true, Prefix: "homeassistant"} }

// TestClearedBeforeTheBirth: the previous start fed a cellar, and
// this one does not.
func TestClearedBeforeTheBirth(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() {
			br.retained["porch/agent/info"] = `{"boot":"0-11111111","discovery":"homeassistant",` +
				`"streams":{"cellar":{"platform":"sensor"},"room":{"platform":"sensor"}}}`
			br.retained["porch/cellar/state"] = `{"ts":1,"value":4}`
			br.retained["porch/other/state"] = `{"ts":1,"value":5}` // nothing says that it is ours
		})
		time.Sleep(5 * time.Second)
		if br.kept("porch/cellar/state") != "" || br.kept("porch/other/state") == "" {
			t.Errorf("cellar %q, other %q", br.kept("porch/cellar/state"), br.kept("porch/other/state"))
		}
		br.cut()
		time.Sleep(5 * time.Second)
	}, atHome)
	got := br.topicsOf()
	cleared, birth, told := slices.Index(got, "porch/cellar/state"), slices.Index(got, "porch/agent/info"),
		slices.Index(got, announced)
	if told < 0 || told > birth || cleared < 0 || cleared > birth {
		t.Errorf("the entity and the state have to go before the birth: %q", got)
	}
	if n := br.count("porch/cellar/state"); n != 1 {
		t.Errorf("cleared %d times", n)
	}
	if n := br.count(announced); n != 3 { // the entity taken out, then one in each session
		t.Errorf("announced %d times", n)
	}
	if strings.Contains(br.kept(announced), "cellar") {
		t.Errorf("announced at last: %s", br.kept(announced))
	}
}

// TestLateRetainedBirthIsCleared: some brokers send what is
// retained when it suits them.
func TestLateRetainedBirthIsCleared(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(5 * time.Second)
		br.set(func() {
			br.conn.heard <- mqtt.Message{Topic: "porch/agent/info", Retain: true,
				Payload: []byte(`{"boot":"0-11111111","streams":{"cellar":{}}}`)}
		})
		time.Sleep(5 * time.Second)
	})
	got := br.topicsOf()
	if n := br.count("porch/agent/info"); br.count("porch/cellar/state") != 1 || n != 2 {
		t.Errorf("cleared %d times, %d births: %q", br.count("porch/cellar/state"), n, got)
	}
}

func TestBirthDoesNotWaitWithoutProof(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) { time.Sleep(time.Second) },
		func(o *Options) { o.NoProof = true }, atHome)
	if br.count("porch/agent/info") != 1 || br.count(announced) != 1 {
		t.Errorf("%q", br.topicsOf())
	}
}

func TestDiscoveryIsRepeatedOnceWhenHomeAssistantStarts(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.retained["homeassistant/status"] = "online" }) // of a start that is over
		time.Sleep(time.Minute)
		if n := br.count(announced); n != 1 {
			t.Fatalf("announced %d times before it starts again", n)
		}
		for _, word := range []string{"offline", "online", "online"} {
			br.says("homeassistant/status", word)
		}
		time.Sleep(rediscoverWithin + time.Second)
		if n := br.count(announced); n != 2 {
			t.Errorf("announced %d times after it started", n)
		}
	}, atHome)
}

// TestHomeAssistantMayRetainItsStart: with MQTT 5 the flag is seen on what is said now, too.
func TestHomeAssistantMayRetainItsStart(t *testing.T) {
	upWith(t, &broker{facts: mqtt.Facts{Version: mqtt.V5}}, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Minute)
		br.set(func() {
			br.conn.deliver(mqtt.Message{Topic: "homeassistant/status", Payload: []byte("online"), Retain: true})
		})
		time.Sleep(rediscoverWithin + time.Second)
		if n := br.count(announced); n != 2 {
			t.Errorf("announced %d times after it started", n)
		}
	}, atHome)
}

// TestRefusedSubscriptionDoesNotBlockReadings, and the log is told once.
func TestRefusedSubscriptionDoesNotBlockReadings(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.secret = "homeassistant/status" })
		fifty(bl)
		time.Sleep(10 * time.Second)
		br.cut()
		time.Sleep(10 * time.Second)
		if n := bl.left(); n != 0 {
			t.Errorf("%d readings left", n)
		}
	}, atHome)
	if n := strings.Count(log, "the announcement is not repeated when Home Assistant restarts"); n != 1 ||
		br.count(announced) != 2 {
		t.Errorf("told %d times, announced %d times:\n%s", n, br.count(announced), log)
	}
}

func TestHomeAssistantStartIsRecognized(t *testing.T) {
	for _, c := range []struct {
		prefix, topic, word string
		want                bool
	}{
		{"homeassistant", "homeassistant/status", "online", true}, {"a/b", "a/b/status", "online", true},
		{"homeassistant", "homeassistant/status", "offline", false}, {"homeassistant", "homeassistant/status", "",
			false},
		{"ha", "homeassistant/status", "online", false}, {"", "homeassistant/status", "online", false},
		{"ha", "store-12/agent/status", "online", false},
	} {
		if got := house(c.prefix).homeStarted(mqtt.Message{Topic: c.topic, Payload: []byte(c.word)}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	var least, most time.Duration = time.Hour, 0
	for range 1000 {
		d := rediscoverAfter()
		least, most = min(least, d), max(most, d)
	}
	if least > rediscoverWithin/10 || most < rediscoverWithin*9/10 || most >= rediscoverWithin {
		t.Errorf("a thousand devices answer between %v and %v", least, most)
	}
}
