package uplink

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestAStreamWhoseSubscriptionClosesTheConnection: the probes of other streams
// come back in each of these sessions, and say nothing about this one.
func TestAStreamWhoseSubscriptionClosesTheConnection(t *testing.T) {
	var d drip
	br, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.closesForTopic = func(topic string) bool { return topic == "porch/room" } })
		d.run(l, bl, 120)
		time.Sleep(10 * time.Second)
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
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

// TestACloseForAReadingIsNotBlamedOnItsSubscription: the broker grants the
// subscription and closes for the reading behind it, and the library tells of the
// end first.
func TestACloseForAReadingIsNotBlamedOnItsSubscription(t *testing.T) {
	var d drip
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.slowTokens, br.closesFor = true, on("porch/room") })
		d.run(l, bl, 120)
		time.Sleep(time.Minute)
		inOrder(t, br, "porch/door", d.door)
	})
	if strings.Contains(log, "closes the connection when we subscribe") ||
		!strings.Contains(log, "refuses each message of a stream") {
		t.Errorf("the subscription is blamed:\n%s", log)
	}
}

// TestAHoldEndsWhereProofIsOff: a person has followed the advice in the log, and
// set mqtt.prove_publish to false.
func TestAHoldEndsWhereProofIsOff(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		br.set(func() { br.secret = "porch/room" })
		var d drip
		d.run(l, bl, 30)
		br.set(func() { br.refuse = errEaten })
		br.cut()

		opt, restarted := l.opt, &broker{retained: map[string]string{}}
		opt.NoProof = true
		next := New(opt, bl, restarted.dial, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { next.Run(ctx); close(done) }()
		d.run(next, bl, 30)
		time.Sleep(5 * time.Second)
		stop()
		<-done
		if left, kept := bl.left(), bl.Stats().Rejected; left != 0 || kept != 0 {
			t.Errorf("%d left, %d kept", left, kept)
		}
		inOrder(t, restarted, "porch/room", d.room)
	})
}
