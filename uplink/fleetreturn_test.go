package uplink

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A fleet is agents that lose one broker at the same time.
type fleet struct {
	rng  *rand.Rand
	name func(i int) string
	skew time.Duration // by which their clocks differ
}

// comeBack simulates an outage of a broker: when each agent connects to it again.
// They notice at different times that it has gone, and an attempt takes some time.
func (f fleet) comeBack(away, within time.Duration) (connects []time.Time) {
	began := noon.Add(time.Duration(f.rng.Int64N(int64(time.Hour))))
	back := began.Add(away)
	for i := range agents {
		b := newBackoff(f.name(i), within)
		off := time.Duration(0) // of this agent's wall clock
		if f.skew > 0 {
			off = time.Duration(f.rng.Int64N(int64(f.skew)))
		}
		now := began.Add(time.Duration(f.rng.Int64N(int64(time.Second))))
		for err, up := error(errClosed), time.Hour; ; err, up = refusedError, 0 {
			wait, _ := b.after(now.Add(off), err, up)
			if now = now.Add(wait); !now.Before(back) {
				break
			}
			now = now.Add(time.Duration(f.rng.Int64N(int64(20 * time.Millisecond))))
		}
		connects = append(connects, now)
	}
	return connects
}

// TestAFleetComesBackByRule: two thousand outages of a thousand agents in build/prove,
// fewer else. Of those that
// are numbered, and whose clocks are right, a second gets its share and hardly one
// more. Others are spread by chance: 45 in a second on average, in turns of 22 s, and
// up to 79 of them in the worst second of all.
func TestAFleetComesBackByRule(t *testing.T) {
	outages := 100
	switch {
	case proving:
		outages = 2000
	case testing.Short():
		outages = 20
	}
	numbered := func(i int) string { return fmt.Sprintf("site-%03d", i) }
	for name, c := range map[string]struct {
		within time.Duration
		skew   time.Duration
		name   func(rng *rand.Rand) func(i int) string
		most   int
	}{
		"numbered, 5 s":  {5 * time.Second, 0, func(*rand.Rand) func(int) string { return numbered }, 250},
		"numbered, 20 s": {20 * time.Second, 0, func(*rand.Rand) func(int) string { return numbered }, 50},
		"numbered, wrong clocks 5 s": {5 * time.Second, time.Hour,
			func(*rand.Rand) func(int) string { return numbered }, 250},
		"serial numbers, 5 s":  {5 * time.Second, 0, serials, 250},
		"serial numbers, 20 s": {20 * time.Second, 0, serials, 85},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(11, 3))
			worst := 0
			for range outages {
				f := fleet{rng: rng, name: c.name(rng), skew: c.skew}
				away := time.Duration(rng.Int64N(int64(3 * time.Minute)))
				worst = max(worst, perSecond(f.comeBack(away, c.within)))
			}
			t.Logf("%d outages: at most %d in a second", outages, worst)
			if worst > c.most {
				t.Errorf("want at most %d", c.most)
			}
		})
	}
}

// serials are names as agents have them without a client ID in the configuration.
func serials(rng *rand.Rand) func(int) string {
	return func(int) string { return fmt.Sprintf("pi-%08x", rng.Uint32()) }
}

// TestNineOfTenAgentsReconnectWithinTheTime, whatever their names are.
func TestNineOfTenAgentsReconnectWithinTheTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 4))
	for _, within := range []time.Duration{DefaultWithin, 20 * time.Second} {
		var waits []time.Duration
		for range 20 {
			f := fleet{rng: rng, name: serials(rng)}
			connects := f.comeBack(time.Duration(rng.Int64N(int64(100*time.Second))), within)
			slices.SortFunc(connects, time.Time.Compare)
			for _, at := range connects {
				waits = append(waits, at.Sub(connects[0]))
			}
		}
		slices.Sort(waits)
		if p90 := waits[len(waits)*9/10]; p90 > within+within/50 {
			t.Errorf("within %v: nine of ten are back after %v", within, p90)
		}
	}
}
