package uplink

import (
	"context"
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
	errSilent    = errors.New("nothing heard from the broker")
	errClosed    = fmt.Errorf("connection lost: %w", mqtt.ErrBrokerClosed)
	refusedError = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errPeerReset = fmt.Errorf("connection lost: %w",
		&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)})
	errRoute = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
)

// oldOutage is the age of an outage that is not young.
const oldOutage = youngOutage + time.Minute

// backoffOf is the backoff of one agent, with the usual slots.
func backoffOf(id string) *backoff { return newBackoff(id, DefaultWithin) }

// noon is when the outages of these tests begin.
var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// TestAnAgentAloneTriesEachSecond for two minutes, and then more and more rarely.
func TestAnAgentAloneTriesEachSecond(t *testing.T) {
	b, now := backoffOf("pi"), noon
	for now.Before(noon.Add(youngOutage)) {
		wait, alone := b.after(now, errRoute, 0)
		if !alone || wait < 500*time.Millisecond || wait > time.Second {
			t.Fatalf("%v into the outage it waits %v, alone: %v", now.Sub(noon), wait, alone)
		}
		now = now.Add(wait)
	}
	longest := time.Duration(0)
	for i := range 10 {
		wait, alone := b.after(now, errRoute, 0)
		if bound := min(time.Second<<i, time.Minute); !alone || wait > bound {
			t.Errorf("the %dth attempt of an old outage: %v, alone %v, want at most %v", i, wait, alone, bound)
		}
		now, longest = now.Add(wait), max(longest, wait)
	}
	if longest < 2*time.Second {
		t.Errorf("the longest of ten waits is %v", longest)
	}
}

// TestABrokerIsTriedOncePerSlot while the outage is young, and then more rarely, at
// most once a minute.
func TestABrokerIsTriedOncePerSlot(t *testing.T) {
	b, now := backoffOf("pi"), noon
	wait, _ := b.after(now, errClosed, time.Hour)
	if wait > b.slot+slotTolerance {
		t.Errorf("the first wait is %v, a slot %v", wait, b.slot)
	}
	for now = now.Add(wait); now.Before(noon.Add(youngOutage)); now = now.Add(wait) {
		if wait, _ = b.after(now, refusedError, 0); (wait - b.slot).Abs() > time.Microsecond {
			t.Fatalf("%v into the outage it waits %v, want a slot of %v", now.Sub(noon), wait, b.slot)
		}
	}
	for range 10 {
		wait, alone := b.after(now, refusedError, 0)
		if alone || wait > maxSlot+b.slot {
			t.Errorf("waits %v, alone: %v", wait, alone)
		}
		now = now.Add(wait)
	}
	if bound := b.bounds[pace{b.slot, maxSlot}]; bound != maxSlot {
		t.Errorf("after ten more attempts a slot is %v", bound)
	}
}

func TestBackoffDependsOnTheCause(t *testing.T) {
	broken := fmt.Errorf("connection lost: %w", mqtt.ProtocolErrorf("a second CONNACK"))
	usual := backoffOf("pi").slot
	const none = time.Duration(-1) // no bound, and not alone
	for _, c := range []struct {
		what string
		err  error
		up   time.Duration
		want time.Duration // the bound after 40 times; 0: each second, alone
	}{
		{"a link that flaps", errSilent, 10 * time.Second, 0},
		{"a link that is cut before the broker answers", errRoute, 0, 0},
		{"a name that is not found", &net.DNSError{Name: "broker"}, 0, 0},
		{"nothing answers", fmt.Errorf("no mqtt connection in 15s: %w", context.DeadlineExceeded), 0, 0},
		{"one server is out of reach and the other refuses", fmt.Errorf("%w; %w", errRoute, refusedError), 0, maxSlot},
		{"a broker that closes at once", errClosed, 10 * time.Second, maxSlot},
		{"a broker that closes before it answers", errClosed, 0, maxSlot},
		{"a broker that resets at once", errPeerReset, 300 * time.Millisecond, maxSlot},
		{"a link on which a NAT resets", errPeerReset, 5 * time.Second, none},
		{"a broker that breaks the protocol", broken, 10 * time.Second, maxSlot},
		{"a broker that closes after a stable session", errClosed, time.Minute, usual},
		{"what nobody has thought of", errors.New("?"), 0, maxSlot},
		{"a refusal", &mqtt.RefusedError{Code: 5}, 0, 15 * time.Minute},
		{"a broker that is busy", &mqtt.RefusedError{Code: 3}, 0, 5 * time.Minute},
		{"a broker that shuts down", &mqtt.DisconnectError{Code: 0x8b}, time.Minute, usual},
		{"a broker that ends it as it is busy", &mqtt.DisconnectError{Code: 0x89}, time.Minute, 5 * time.Minute},
		{"a broker that names a take-over", &mqtt.DisconnectError{Code: 0x8e}, time.Minute, 15 * time.Minute},
		{"another client with our name", fmt.Errorf("%w: %w", &RivalError{"pi-01"}, errClosed), time.Minute,
			15 * time.Minute},
	} {
		b, now, alone := backoffOf("pi"), noon, false
		for range 40 {
			var wait time.Duration
			wait, alone = b.after(now, c.err, c.up)
			now = now.Add(wait + c.up)
		}
		bound := time.Duration(0)
		for _, of := range b.bounds {
			bound = max(bound, of)
		}
		if alone != (c.want == 0) || bound != max(c.want, 0) {
			t.Errorf("%s: alone %v, the bound is %v, want %v", c.what, alone, bound, c.want)
		}
	}
}

// TestRefusalsAndLinkFailuresBackOffSeparately: of two brokers behind one name, one
// refuses and one does not answer. Neither lets the other start anew.
func TestRefusalsAndLinkFailuresBackOffSeparately(t *testing.T) {
	b := backoffOf("pi")
	b.after(noon, errRoute, 0)
	for i := range 6 {
		for _, err := range []error{errRoute, &mqtt.RefusedError{Code: 4}, &mqtt.RefusedError{Code: 0x89}} {
			p := paceOf(err)
			if d, _ := b.after(noon.Add(oldOutage), err, 0); d > min(p.first<<i, p.max) {
				t.Errorf("%v: waited %v the %dth time, bound %v", err, d, i+1, min(p.first<<i, p.max))
			}
		}
	}
	if b.bounds[paceLink] != 32*time.Second || b.bounds[paceRefused] != 15*time.Minute ||
		b.bounds[paceBusy] != 160*time.Second {
		t.Errorf("bounds %v", b.bounds)
	}
	b.after(noon.Add(oldOutage), errSilent, stableSession)
	if len(b.bounds) != 0 {
		t.Errorf("bounds after a stable session: %v", b.bounds)
	}
}

// shareUsed is how much of ten minutes a link is used that is cut every 5 s on
// average, where connecting takes some time.
func shareUsed(connect time.Duration, err error, backoffs func() *backoff) float64 {
	const rounds, long = 100, 10 * time.Minute
	used := time.Duration(0)
	for range rounds {
		b := backoffs()
		for at := time.Duration(0); at < long; {
			lives := time.Duration(rand.ExpFloat64() * float64(5*time.Second))
			up := max(0, lives-connect)
			wait, _ := b.after(noon.Add(at+lives), err, up)
			used += up
			at += lives + wait
		}
	}
	return float64(used) / float64(rounds*long)
}

// TestALinkThatIsCutAllTheTimeIsUsed while it takes so long until something is
// acknowledged; also where an outage was before.
func TestALinkThatIsCutAllTheTimeIsUsed(t *testing.T) {
	for connect, want := range map[time.Duration]float64{100 * time.Millisecond: 0.75, 1800 * time.Millisecond: 0.4} {
		share := shareUsed(connect, errSilent, func() *backoff {
			b := backoffOf("pi")
			b.began, b.bounds[paceLink] = noon.Add(-time.Hour), time.Minute
			return b
		})
		if share < want {
			t.Errorf("connecting in %v, the link is used %.0f %% of the time, want %.0f", connect, 100*share, 100*want)
		}
	}
}

// TestALinkThatIsResetAllTheTimeIsUsed: like one that is cut, and a little less.
func TestALinkThatIsResetAllTheTimeIsUsed(t *testing.T) {
	for connect, want := range map[time.Duration]float64{100 * time.Millisecond: 0.55, 1800 * time.Millisecond: 0.33} {
		share := shareUsed(connect, errPeerReset,
			func() *backoff { return backoffOf(fmt.Sprint("pi-", rand.Uint32())) })
		t.Logf("connecting in %v, the link is used %.0f %% of the time", connect, 100*share)
		if share < want {
			t.Errorf("connecting in %v, the link is used %.0f %% of the time, want %.0f", connect, 100*share, 100*want)
		}
	}
}

// TestSessionsThatEndRepeatedlyBackOff, whoever ended them and however
// long they lasted.
func TestSessionsThatEndRepeatedlyBackOff(t *testing.T) {
	broken := fmt.Errorf("connection lost: %w", mqtt.ProtocolErrorf("a second CONNACK"))
	for _, err := range []error{errPeerReset, mqtt.ErrBrokerClosed, broken,
		&net.OpError{Op: "write", Err: syscall.EPIPE}} {
		for _, lasts := range []time.Duration{0, 1, 10 * time.Millisecond, 300 * time.Millisecond, time.Second,
			usefulSession - 1, usefulSession,
			3 * time.Second, 5 * time.Second, 6900 * time.Millisecond, 20 * time.Second} {
			b, n := backoffOf("pi"), 0
			for at := time.Duration(0); at < 200*time.Second; n++ {
				wait, _ := b.after(noon.Add(at+lasts), err, lasts)
				at += lasts + wait
			}
			// One that is never up takes a slot each, 22 in the first two minutes, and then by
			// chance: 31 came in one of some hundred runs.
			if n > 30 && (lasts > 0 || n > 36) {
				t.Errorf("%v after %v: %d connections in 200 s", err, lasts, n)
			}
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
