package uplink

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

var (
	errReset     = errors.New("read: connection reset by peer")
	errPeerReset = fmt.Errorf("connection lost: %w", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)})
	errRoute     = errors.New("dial: no route to host")
)

func TestBackoffDoublesWithJitter(t *testing.T) {
	b := newBackoff()
	bound, longest := time.Second, time.Duration(0)
	for range 10 {
		d := b.after(errRoute, 0)
		if d > bound {
			t.Errorf("waited %v, bound %v", d, bound)
		}
		bound, longest = min(2*bound, time.Minute), max(longest, d)
	}
	if longest < 2*time.Second {
		t.Errorf("the longest of ten waits is %v", longest)
	}
	if d := b.after(errReset, stableSession); d > time.Second {
		t.Errorf("first wait after a stable session is %v", d)
	}
}

func TestBackoffKnowsWhoIsToBlame(t *testing.T) {
	closed := fmt.Errorf("connection lost: %w", mqtt.ErrBrokerClosed)
	for _, c := range []struct {
		what string
		err  error
		up   time.Duration
		want time.Duration // the bound after ten times
	}{
		{"a link that flaps", errReset, 10 * time.Second, time.Second},
		{"a broker that closes at once", closed, 10 * time.Second, time.Minute},
		{"a broker that resets at once", errPeerReset, 300 * time.Millisecond, time.Minute},
		{"a link on which a NAT resets", errPeerReset, 5 * time.Second, time.Second},
		{"a link that is cut before the broker answers", errReset, 0, time.Minute},
		{"a broker that breaks the protocol", fmt.Errorf("connection lost: %w", mqtt.ProtocolErrorf("a second CONNACK")), 10 * time.Second, time.Minute},
		{"a broker that closes after a stable session", closed, time.Minute, time.Second},
		{"a refusal", &mqtt.RefusedError{Code: 5}, 0, 15 * time.Minute},
		{"a broker that is busy", &mqtt.RefusedError{Code: 3}, 0, 5 * time.Minute},
		{"another client with our name", fmt.Errorf("%w: %w", &RivalError{"pi-01"}, closed), time.Minute, 15 * time.Minute},
	} {
		b := newBackoff()
		for range 10 {
			b.after(c.err, c.up)
		}
		if bound := b.bounds[paceOf(c.err)]; bound != c.want {
			t.Errorf("%s: the bound is %v, want %v", c.what, bound, c.want)
		}
	}
}

// TestRefusalsAndTheNetworkHaveBoundsOfTheirOwn: of two brokers behind one name,
// one refuses and one does not answer. Neither lets the other start anew.
func TestRefusalsAndTheNetworkHaveBoundsOfTheirOwn(t *testing.T) {
	b := newBackoff()
	for i := range 6 {
		for _, err := range []error{errRoute, &mqtt.RefusedError{Code: 4}, &mqtt.RefusedError{Code: 0x89}} {
			p := paceOf(err)
			if d, bound := b.after(err, 0), min(p.first<<i, p.most); d > bound {
				t.Errorf("%v: waited %v the %dth time, bound %v", err, d, i+1, bound)
			}
		}
	}
	if b.bounds[paceNetwork] != 32*time.Second || b.bounds[paceRefused] != 15*time.Minute || b.bounds[paceBusy] != 160*time.Second {
		t.Errorf("bounds %v", b.bounds)
	}
	b.after(errReset, stableSession)
	if len(b.bounds) != 1 || b.bounds[paceNetwork] != time.Second {
		t.Errorf("bounds after a stable session: %v", b.bounds)
	}
}

// TestBareEOFsKeepTheNetworksSchedule: that a broker closes without a word says
// nothing about a rival.
func TestBareEOFsKeepTheNetworksSchedule(t *testing.T) {
	b := newBackoff()
	for i := range 100 {
		if d, bound := b.after(mqtt.ErrBrokerClosed, 3*time.Second), min(time.Second<<min(i, 10), time.Minute); d > bound {
			t.Fatalf("waited %v the %dth time, bound %v", d, i+1, bound)
		}
	}
}

// TestALinkThatIsCutAllTheTimeIsUsed: cut every 5 s on average, for ten minutes,
// while it takes so long until something is acknowledged; also where an outage
// was before.
func TestALinkThatIsCutAllTheTimeIsUsed(t *testing.T) {
	for _, c := range []struct {
		connect time.Duration
		want    float64 // of the time
	}{{100 * time.Millisecond, 0.75}, {1800 * time.Millisecond, 0.4}} {
		const rounds, long = 100, 10 * time.Minute
		used := time.Duration(0)
		for range rounds {
			b := backoff{bounds: map[pace]time.Duration{paceNetwork: time.Minute}}
			for at := time.Duration(0); at < long; {
				lives := time.Duration(rand.ExpFloat64() * float64(5*time.Second))
				up := max(0, lives-c.connect)
				used += up
				at += lives + b.after(errReset, up)
			}
		}
		if share := float64(used) / float64(rounds*long); share < c.want {
			t.Errorf("connecting in %v, the link is used %.0f %% of the time, want %.0f", c.connect, 100*share, 100*c.want)
		}
	}
}

// TestSessionsThatAreEndedAgainAndAgainAreRare, whoever ended them and however
// long they lasted.
func TestSessionsThatAreEndedAgainAndAgainAreRare(t *testing.T) {
	broken := fmt.Errorf("connection lost: %w", mqtt.ProtocolErrorf("a second CONNACK"))
	for _, err := range []error{errPeerReset, mqtt.ErrBrokerClosed, broken, &net.OpError{Op: "write", Err: syscall.EPIPE}} {
		for _, lasts := range []time.Duration{1, 10 * time.Millisecond, 300 * time.Millisecond, time.Second, usefulSession - 1, usefulSession,
			3 * time.Second, 5 * time.Second, 6900 * time.Millisecond, 20 * time.Second} {
			b, n := newBackoff(), 0
			for at := time.Duration(0); at < 200*time.Second; n++ {
				at += lasts + b.after(err, lasts)
			}
			if n > 30 {
				t.Errorf("%v after %v: %d connections in 200 s", err, lasts, n)
			}
		}
	}
}

// TestALinkThatIsResetAllTheTimeIsUsed: like one that is cut, and a little less.
func TestALinkThatIsResetAllTheTimeIsUsed(t *testing.T) {
	for _, c := range []struct {
		connect time.Duration
		want    float64 // of the time
	}{{100 * time.Millisecond, 0.6}, {1800 * time.Millisecond, 0.33}} {
		const rounds, long = 100, 10 * time.Minute
		used := time.Duration(0)
		for range rounds {
			b := newBackoff()
			for at := time.Duration(0); at < long; {
				lives := time.Duration(rand.ExpFloat64() * float64(5*time.Second))
				up := max(0, lives-c.connect)
				used += up
				at += lives + b.after(errPeerReset, up)
			}
		}
		share := float64(used) / float64(rounds*long)
		t.Logf("connecting in %v, the link is used %.0f %% of the time", c.connect, 100*share)
		if share < c.want {
			t.Errorf("connecting in %v, the link is used %.0f %% of the time, want %.0f", c.connect, 100*share, 100*c.want)
		}
	}
}

// TestABrokerThatFailsAgainAndAgainIsNotStormed: it is up for ten seconds and
// away for a minute, and a thousand agents come back each time.
func TestABrokerThatFailsAgainAndAgainIsNotStormed(t *testing.T) {
	const up, cycle = 10 * time.Second, 70 * time.Second
	perSecond := map[time.Duration]int{}
	for range 1000 {
		b := newBackoff()
		at := b.after(errReset, time.Hour) // when it failed the first time, all at once
		for at < 10*cycle {
			if in := at % cycle; in < cycle-up {
				at += b.after(errRoute, 0)
				continue
			}
			perSecond[at/time.Second]++
			lasts := cycle - at%cycle
			at += lasts
			at += b.after(errReset, lasts)
		}
	}
	for second, n := range perSecond {
		if n > 50 {
			t.Errorf("%d of 1000 agents connect in second %d", n, second)
		}
	}
}

// TestTheFirstRetryComesWithinASecond after a stable session, whoever ended it.
func TestTheFirstRetryComesWithinASecond(t *testing.T) {
	up(t, func(l *Link, br *broker, bl *backlog) {
		for i := range 5 {
			time.Sleep(stableSession + 2*time.Second)
			br.cut()
			time.Sleep(time.Second + time.Millisecond)
			br.set(func() {
				if br.conns != i+2 {
					t.Errorf("%d connections a second after cut %d", br.conns, i+1)
				}
			})
		}
	})
}

// TestAFleetDoesNotComeBackAtOnce: a thousand agents lose a broker that is away
// for a minute, a minute and a half, or three.
func TestAFleetDoesNotComeBackAtOnce(t *testing.T) {
	for round := range 20 {
		away := []time.Duration{60, 90, 180}[round%3] * time.Second
		perSecond := map[time.Duration]int{}
		for range 1000 {
			b := newBackoff()
			at := time.Duration(rand.Int64N(int64(time.Second)))
			for err := error(mqtt.ErrBrokerClosed); at < away; err = errRoute {
				at += b.after(err, 0)
			}
			perSecond[at/time.Second]++
		}
		for second, n := range perSecond {
			if n > 50 {
				t.Errorf("%d of 1000 agents connect in second %d", n, second)
			}
		}
	}
}
