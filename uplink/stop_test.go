package uplink

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

const stopTime = 5 * time.Second // that the end of the agent may take

// A stuckConn takes nothing more once it is stuck: what is published waits until
// the connection is closed.
type stuckConn struct {
	*fakeConn
	stuck <-chan struct{}
}

func (c stuckConn) Enqueue(m mqtt.Message) mqtt.Token {
	select {
	case <-c.stuck:
		<-c.lost
	default:
	}
	return c.fakeConn.Publish(m)
}

func (c stuckConn) Publish(m mqtt.Message) mqtt.Token { return c.Enqueue(m) }

func TestShutdownDoesNotWaitForTheBroker(t *testing.T) {
	for name, disable := range map[string]func(br *broker, stick func()){
		"in order":             func(*broker, func()) {},
		"acknowledges nothing": func(br *broker, _ func()) { br.set(func() { br.acksNothing = true }) },
		"reads nothing":        func(_ *broker, stick func()) { stick() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				br, bl, stuck := &broker{retained: map[string]string{}}, openBacklog(t), make(chan struct{})
				dial := func(ctx context.Context, will mqtt.Message) (Conn, error) {
					conn, err := br.dial(ctx, will)
					return stuckConn{conn.(*fakeConn), stuck}, err
				}
				l := New(Options{Broker: mqtt.Broker{ClientID: "porch", Clock: clock.NewTimekeeper(clock.TrustAlways)},
					Topics: payload.DefaultPatterns, Boot: bl.Boot(), Report: bl.Report, Stats: bl.Stats,
					Streams: []sensors.Stream{{Name: "room"}}}, bl, dial, slog.New(slog.DiscardHandler))
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { l.Run(ctx); close(done) }()
				time.Sleep(2 * time.Second)
				disable(br, func() { close(stuck) })
				bl.put(reading("room", 1))
				time.Sleep(time.Second)
				stop()
				stopped := time.Now()
				<-done
				if took := time.Since(stopped); took > stopTime {
					t.Errorf("the end took %v", took)
				}
			})
		})
	}
}

// TestLastStateIsSentBeforeOffline, also where the backlog fills the window.
func TestLastStateIsSentBeforeOffline(t *testing.T) {
	br, _ := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		for seq := range uint64(5000) {
			bl.put(reading("room", seq+1))
		}
		time.Sleep(roundTrip / 2)
		last := reading("door", 1)
		last.State = "safe"
		l.Observe(last) // the agent stops now
	}, func(o *Options) { o.Drain.Rate = 0 })
	if got := br.kept("porch/door/state"); !strings.Contains(got, `"state":"safe"`) {
		t.Errorf("the broker keeps the state %s", got)
	}
	if got := br.kept("porch/agent/status"); got != "offline" || br.orderly != 1 {
		t.Errorf("the broker keeps the status %q after %d orderly ends", got, br.orderly)
	}
	if n := len(br.seqs("porch/room")); n == 0 || n == 5000 {
		t.Errorf("%d of 5000 readings arrived: the test is no test", n)
	}
}

// TestAllLastStatesAreSentBeforeOffline, also where messages have to keep a distance: the
// round trips of this link were long once.
func TestAllLastStatesAreSentBeforeOffline(t *testing.T) {
	br := &broker{each: time.Microsecond, quick: 2 * time.Millisecond}
	upWith(t, br, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(time.Second)
		br.set(func() { br.quick = 60 * time.Millisecond })
		for seq := range uint64(100) {
			bl.put(reading("room", seq+1))
			time.Sleep(20 * time.Millisecond)
		}
		br.set(func() { br.quick = 2 * time.Millisecond })
		time.Sleep(time.Second)
		for _, stream := range []string{"siren", "pump", "lamp"} {
			last := reading(stream, 1)
			last.State = "safe"
			l.Observe(last)
		} // the agent stops now
	})
	for _, stream := range []string{"siren", "pump", "lamp"} {
		if got := br.kept("porch/" + stream + "/state"); !strings.Contains(got, `"state":"safe"`) {
			t.Errorf("the broker keeps the state %q of %s", got, stream)
		}
	}
	if got := br.kept("porch/agent/status"); got != "offline" || br.orderly != 1 {
		t.Errorf("the broker keeps the status %q after %d orderly ends", got, br.orderly)
	}
}
