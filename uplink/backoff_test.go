package uplink

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	errReset = errors.New("read: connection reset by peer")
	errRoute = errors.New("dial: no route to host")
)

func TestBackoffDoublesWithJitter(t *testing.T) {
	var b backoff
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
	if d := b.after(errReset, stable); d > time.Second {
		t.Errorf("first wait after a stable session is %v", d)
	}
}

func TestBackoffKnowsWhoIsToBlame(t *testing.T) {
	closed := fmt.Errorf("connection lost: %w", errBrokerClosed)
	for _, c := range []struct {
		what string
		err  error
		up   time.Duration
		want time.Duration // the bound after ten times
	}{
		{"a link that flaps", errReset, 10 * time.Second, time.Second},
		{"a broker that closes at once", closed, 10 * time.Second, time.Minute},
		{"a link that is cut before the broker answers", errReset, 0, time.Minute},
		{"a broker that closes after a stable session", closed, time.Minute, time.Second},
		{"a refusal", &RefusedError{5}, 0, 15 * time.Minute},
		{"a broker that is busy", &RefusedError{3}, 0, 5 * time.Minute},
		{"another client with our name", fmt.Errorf("%w: %w", &RivalError{"pi-01"}, closed), time.Minute, 15 * time.Minute},
	} {
		var b backoff
		for range 10 {
			b.after(c.err, c.up)
		}
		if b.bound != c.want {
			t.Errorf("%s: the bound is %v, want %v", c.what, b.bound, c.want)
		}
	}
}

// TestAFleetDoesNotComeBackAtOnce: a thousand agents lose a broker that is away
// for a minute, a minute and a half, or three.
func TestAFleetDoesNotComeBackAtOnce(t *testing.T) {
	for round := range 20 {
		away := []time.Duration{60, 90, 180}[round%3] * time.Second
		perSecond := map[time.Duration]int{}
		for range 1000 {
			var b backoff
			at := time.Duration(rand.Int64N(int64(time.Second)))
			for err := error(errBrokerClosed); at < away; err = errRoute {
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
