package uplink

import (
	"slices"
	"testing"
	"time"
)

// TestEachSessionHasTheWill, also those after the first.
func TestEachSessionHasTheWill(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.cut()
		time.Sleep(10 * time.Second)
	})
	if len(br.wills) < 2 {
		t.Fatalf("%d sessions", len(br.wills))
	}
	for i, w := range br.wills {
		if w.Topic != "porch/agent/status" || string(w.Payload) != "offline" || !w.Retain {
			t.Errorf("session %d: %+v", i, w)
		}
	}
}

// TestABrokerThatStopsDelaysNoOnline: it publishes our will, which we answer, and closes the
// connection. The next session says "online" before any reading.
func TestABrokerThatStopsDelaysNoOnline(t *testing.T) {
	var before int // messages of the first session
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.acksNothing = true })
		br.says("porch/agent/status", "offline")
		time.Sleep(roundTrip)
		br.set(func() { before, br.acksNothing = len(br.got), false })
		br.cut()
		for seq := range uint64(100) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(10 * time.Second)
	})
	topics := br.topicsOf()[before:]
	online, first := slices.Index(topics, "porch/agent/status"), slices.Index(topics, "porch/room")
	if online < 0 || first < 0 || online > first {
		t.Errorf("online was message %d of the second session, the first reading %d", online, first)
	}
}
