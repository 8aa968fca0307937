package uplink

import (
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
