package uplink

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

func TestStatusFollowsTheLink(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		began := time.Now()
		for seq := range uint64(50) {
			bl.put(reading("room", seq+1))
		}
		l.Observe(reading("room", 50))
		time.Sleep(3 * time.Second)
		if s := l.Status(); s.Delivered != 50 || s.Rate < 9 || s.Rate > 20 || s.Produced < 0.05 || s.Produced > 0.2 {
			t.Errorf("%d delivered, %v a second, %v produced; want 50 in 5 s, and 1 in 10 s",
				s.Delivered, s.Rate, s.Produced)
		}
		time.Sleep(17 * time.Second)
		s := l.Status()
		if !s.Connected || time.Since(s.Since) < 19*time.Second || s.RoundTrip <= 0 || s.LastError != "" {
			t.Errorf("connected: %+v", s)
		}
		if s.Rate != 0 {
			t.Errorf("%v a second, want nothing in the last seconds", s.Rate)
		}
		if s.Server != "broker.example.com:1883" {
			t.Errorf("the server is %q", s.Server)
		}
		if states := l.States(); len(states) != 1 || states[0].Seq != 50 {
			t.Errorf("states: %+v", states)
		}

		br.set(func() { br.refuse = errors.New("dial: no route to host") })
		br.cut()
		time.Sleep(30 * time.Second)
		s = l.Status()
		if s.Connected || s.LastError != "dial: no route to host" || s.RoundTrip != 0 || !s.NextTry.After(time.Now()) {
			t.Errorf("disconnected: %+v", s)
		}
		if since := time.Since(s.Since); since < 29*time.Second || since > time.Since(began) {
			t.Errorf("the outage is %v old", since)
		}

		br.set(func() { br.refuse, br.drops = nil, func(mqtt.Message) bool { return true } })
		time.Sleep(2 * time.Minute)
		if s = l.Status(); !s.Connected || !strings.Contains(s.Held, "canary") || !s.NextTry.IsZero() {
			t.Errorf("held: %+v", s)
		}
		br.set(func() { br.drops = nil })
		time.Sleep(2 * time.Minute)
		if s = l.Status(); s.Held != "" {
			t.Errorf("still held: %+v", s)
		}
	}, func(o *Options) { o.Servers = []*url.URL{{Scheme: "mqtt", Host: "broker.example.com:1883"}} })
}
