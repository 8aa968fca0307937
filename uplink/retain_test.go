package uplink

import (
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// TestNothingIsRetainedWhereTheBrokerKeepsNothing: it ends the connection for
// one retained message, the will or an empty one that clears.
func TestNothingIsRetainedWhereTheBrokerKeepsNothing(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		if l.will().Retain {
			t.Error("the will is retained")
		}
		br.set(func() { // from before
			br.retained["porch/agent/info"] = `{"boot":"1-11111111","streams":{"cellar":{}}}`
			br.retained["porch/cellar/state"] = "42"
			br.closesFor = func(m mqtt.Message) bool { return m.Retain }
		})
		l.Observe(reading("room", 1))
		bl.put(reading("room", 1))
		time.Sleep(30 * time.Second)

		br.set(func() { br.got = nil })
		br.says("homeassistant/status", "online")
		for end := time.Now().Add(rediscoverWithin +
			time.Second); br.arrivedOn("homeassistant/device/porch/config") == 0 && time.Now().Before(end); {
			time.Sleep(100 * time.Millisecond)
		}
		if n := br.arrivedOn("homeassistant/device/porch/config"); n != 1 {
			t.Fatalf("Home Assistant was told %d times", n)
		}
		br.set(func() { br.got = nil })
		time.Sleep(restateAfter + time.Second)
		for _, topic := range []string{"porch/agent/status", "porch/room/state"} {
			if n := br.arrivedOn(topic); n != 1 {
				t.Errorf("%s came %d times after Home Assistant was told, want once", topic, n)
			}
		}
	}, func(o *Options) {
		o.NoRetain = true
		o.HomeAssistant = HomeAssistant{Discovery: true, Prefix: "homeassistant"}
	})
	if br.conns != 1 {
		t.Errorf("%d connections: something was to be retained", br.conns)
	}
	if n := br.arrivedOn("porch/cellar/state"); n != 0 {
		t.Error("an empty state was sent, which clears nothing")
	}
	if br.orderly != 1 {
		t.Error("no \"offline\"")
	}
}

// TestStatesAreRepeatedWithoutRetainedMessages: the state of a door that does
// not move is repeated for those who have subscribed since.
func TestStatesAreRepeatedWithoutRetainedMessages(t *testing.T) {
	for _, noRetain := range []bool{true, false} {
		up(t, func(l *Link, br *broker, bl *backlog) {
			l.Observe(reading("door", 1))
			time.Sleep(time.Minute)
			br.set(func() { br.got = nil })
			time.Sleep(time.Hour)
			want := 0
			if noRetain {
				want = 6
			}
			for _, topic := range []string{"porch/door/state", "porch/agent/status"} {
				if n := br.arrivedOn(topic); n != want {
					t.Errorf("retain %v: %s came %d times in an hour, want %d", !noRetain, topic, n, want)
				}
			}
		}, func(o *Options) { o.NoRetain = noRetain })
	}
}

func TestHealthIntervalIsConfigurable(t *testing.T) {
	for every, want := range map[time.Duration]int{0: 60, 10 * time.Second: 360, time.Hour: 1} {
		up(t, func(l *Link, br *broker, bl *backlog) {
			time.Sleep(time.Minute + time.Second)
			br.set(func() { br.got = nil })
			time.Sleep(time.Hour)
			if n := br.arrivedOn("porch/agent/health"); n != want {
				t.Errorf("every %v: %d heartbeats in an hour, want %d", every, n, want)
			}
		}, func(o *Options) { o.Health = every })
	}
}
