package uplink

import (
	"testing"
	"time"
)

// TestAStreamWhoseSubscriptionClosesTheConnection: the probes of other streams
// come back in each of these sessions, and say nothing about this one.
func TestAStreamWhoseSubscriptionClosesTheConnection(t *testing.T) {
	var d drip
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.shuts = func(topic string) bool { return topic == "porch/room" } })
		d.run(l, bl, 120)
		time.Sleep(10 * time.Second)
		if left, kept := bl.left(), bl.Stats().Aside; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
		if n := br.connections(); n > 8 {
			t.Errorf("%d connections", n)
		}
	})
	inOrder(t, br, "porch/room", d.room)
	inOrder(t, br, "porch/door", d.door)
	if t.Failed() {
		t.Log(log)
	}
}
