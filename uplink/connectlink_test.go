package uplink

import (
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// TestTheLinkGivesItsWillToTheDial, also for each later session.
func TestTheLinkGivesItsWillToTheDial(t *testing.T) {
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

// TestPatienceIsThreeTimesThePace, and never less than half a minute.
func TestPatienceIsThreeTimesThePace(t *testing.T) {
	for every, want := range map[time.Duration]time.Duration{0: patience, time.Second: patience,
		time.Minute: 3 * time.Minute} {
		if got := patienceFor(sensors.Stream{Every: every}); got != want {
			t.Errorf("every %v: %v, want %v", every, got, want)
		}
	}
}
