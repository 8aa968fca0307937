package uplink

import (
	"context"
	"strings"
	"testing"
	"time"
)

// tellsOf lets a test tell when the network may be back. The channel is made in the
// bubble of the test.
func tellsOf(network *chan struct{}) func(*Options) {
	return func(o *Options) {
		*network = make(chan struct{})
		o.AwaitNetwork = func(ctx context.Context, back chan<- struct{}) error {
			for {
				select {
				case <-*network:
					back <- struct{}{}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
}

// TestDeadConnectionIsReplacedWhenTheNetworkReturns, and not only when
// the broker has acknowledged nothing for half a minute.
func TestDeadConnectionIsReplacedWhenTheNetworkReturns(t *testing.T) {
	var network chan struct{}
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(10 * time.Second)
		br.set(func() { br.acksNothing = true })
		bl.put(reading("room", 1))
		time.Sleep(10 * time.Second)
		br.set(func() { br.acksNothing = false })
		network <- struct{}{}
		time.Sleep(2 * time.Second)
		if n, left := br.connections(), bl.left(); n != 2 || left != 0 {
			t.Errorf("two seconds after the network came back: %d connections, %d readings left", n, left)
		}
	}, tellsOf(&network))
	if !strings.Contains(log, "the network was down") {
		t.Errorf("the log does not say why: %s", log)
	}
}

// TestAConnectionThatWorksIsKept when something else of the network changes, also
// while nothing is in flight.
func TestAConnectionThatWorksIsKept(t *testing.T) {
	var network chan struct{}
	up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(10 * time.Second)
		for seq := range uint64(20) {
			network <- struct{}{}
			if seq%2 == 0 {
				bl.put(reading("room", seq+1))
			}
			time.Sleep(time.Second)
		}
		if n := br.connections(); n != 1 {
			t.Errorf("%d connections, want the first", n)
		}
	}, tellsOf(&network))
}

// TestANetworkThatIsBackEndsTheWait of an agent whose own link was away, also after
// minutes. One that waits for a broker with others keeps its slot.
func TestANetworkThatIsBackEndsTheWait(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		soon bool
	}{"no route": {errRoute, true}, "refused": {refusedError, false}} {
		t.Run(name, func(t *testing.T) {
			var network chan struct{}
			up(t, func(l *Link, br *broker, bl *backlog) {
				time.Sleep(2 * stableSession)
				br.set(func() { br.refuse = c.err })
				br.cut()
				early := 0
				for range 20 { // a wait of a minute may be over by chance, but not again and again
					br.set(func() { br.refuse = c.err })
					br.cut()
					time.Sleep(10 * time.Minute)
					br.set(func() { br.refuse = nil })
					before := br.connections()
					network <- struct{}{}
					time.Sleep(500 * time.Millisecond)
					if br.connections() > before {
						early++
					}
					time.Sleep(5 * time.Minute)
				}
				if c.soon && early < 20 || !c.soon && early > 10 {
					t.Errorf("%d of 20 times back within half a second", early)
				}
			}, tellsOf(&network))
		})
	}
}

// TestNewConnectionIsNotReplacedWhenTheNetworkReturns: a link comes back in several steps, and the later
// ones are announced while a slow link has not answered anything yet.
func TestNewConnectionIsNotReplacedWhenTheNetworkReturns(t *testing.T) {
	var network chan struct{}
	_, log := up(t, func(l *Link, br *broker, bl *backlog) {
		time.Sleep(10 * time.Second)
		br.set(func() { br.rate = 2500 }) // 600 ms there and back
		br.cut()
		for range 500 {
			if br.connections() == 2 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		network <- struct{}{} // the connection is at most 10 ms old
		time.Sleep(5 * time.Second)
		if n := br.connections(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	}, tellsOf(&network))
	if strings.Contains(log, "the network was down") {
		t.Errorf("a new connection was given up: %s", log)
	}
}
