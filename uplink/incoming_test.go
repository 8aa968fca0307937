package uplink

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// aSession is one that only receives.
func newTestSession(birthSeenBefore bool) *session {
	opt := Options{Broker: mqtt.Broker{ClientID: "porch", Clock: clock.NewTimekeeper(clock.TrustAlways)},
		Topics: payload.DefaultPatterns, Boot: "1-00000000",
		Streams: []sensors.Stream{{Name: "room"}}, HomeAssistant: HomeAssistant{Discovery: true,
			Prefix: "homeassistant"}}
	s := newSession(New(opt, nil, nil, slog.New(slog.DiscardHandler)), &fakeConn{})
	s.announcer.birthSeenBefore = birthSeenBefore
	return s
}

// dueNotices takes the notices that are due.
func dueNotices(s *session) (all []notice) {
	for _, src := range slices.Concat(s.notices.urgent, s.notices.others) {
		for at := src.due(); !at.IsZero() && !at.After(time.Now()); at = src.due() {
			all = append(all, src.take())
		}
	}
	return all
}

// FuzzIncoming: whatever is published on the topics that we subscribe to, the notices
// that follow are on topics of our own alone, and not more of them if it is
// published again.
func FuzzIncoming(f *testing.F) {
	for _, payload := range []string{"", "online", "offline", `{"boot":"9-0badcafe"}`, `{"boot":"1-00000000"}`,
		`{"boot":7}`, `[[[`,
		`{"boot":"9-0","topics":{"state":"{client_id}/{stream}/x"},"streams":{"old":{},"a/b":{}},"discovery":"ha"}`,
		`{"boot":"9-0","topics":{"state":"+/#/{client_id}{stream}"},"streams":{"old":{"platform":"sensor"}},` +
			`"discovery":"homeassistant"}`} {
		for where := range byte(4) {
			f.Add(where, true, true, payload)
			f.Add(where, true, false, payload)
			f.Add(where, false, true, payload)
		}
	}
	f.Fuzz(func(t *testing.T, where byte, retained, birthSeenBefore bool, payload string) {
		s := newTestSession(birthSeenBefore)
		topics := []string{s.link.topics.Agent("canary"), s.link.topics.Agent("status"), s.link.topics.Agent("info"),
			s.link.opt.homeStatusTopic()}
		m := mqtt.Message{Topic: topics[int(where)%len(topics)], Payload: []byte(payload), Retain: retained}
		s.onMessage(m)
		s.onMessage(mqtt.Message{Topic: topics[1], Payload: []byte("online")})
		once := dueNotices(s)
		var again []notice
		for range 100 {
			s.onMessage(m)
			again = append(again, dueNotices(s)...)
		}
		if len(again) > 1 {
			t.Errorf("%d messages after hearing it once, %d more after 100 times", len(once), len(again))
		}
		for _, n := range append(once, again...) {
			if !strings.Contains(n.Topic, "porch") || strings.ContainsAny(n.Topic, "+#\x00") {
				t.Errorf("answers on %q", n.Topic)
			}
		}
	})
}

// TestRepeatedOfflineIsCorrectedRarely: another client keeps publishing "offline",
// and costs one correction a second at most.
func TestRepeatedOfflineIsCorrectedRarely(t *testing.T) {
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.got = nil })
		for range 600 {
			br.says("porch/agent/status", "offline")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if got := br.kept("porch/agent/status"); got != "online" {
			t.Errorf("status %q in the end", got)
		}
	})
	online := 0
	for _, m := range br.got {
		if m.Topic == "porch/agent/status" && string(m.Payload) == "online" {
			online++
		}
	}
	if online < 30 || online > 62 {
		t.Errorf("%d corrections in a minute", online)
	}
	if n := strings.Count(log, "late will"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestSilenceOfABrokerThatAcknowledgesNothingIsNoDenial: the log does not blame
// an access list for a link that is dead.
func TestSilenceOfABrokerThatAcknowledgesNothingIsNoDenial(t *testing.T) {
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.acksNothing = true })
		time.Sleep(3 * time.Minute)
	}, func(o *Options) { o.KeepAlive = 15 * time.Second })
	if strings.Contains(log, "held") || !strings.Contains(log, "acknowledged nothing for 28s") {
		t.Error(log)
	}
}
