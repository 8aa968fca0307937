package debounce

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A bounce pattern is a level for each millisecond.
type pattern []bool

// bouncing is bursts of short levels with rests between them, as contacts make
// them, and levels just around the time of the debounce.
func bouncing(r *rand.Rand, quiet int) (p pattern) {
	level := r.IntN(2) == 1
	for range 1 + r.IntN(40) {
		lasts := 1 + r.IntN(max(quiet/2, 2))
		switch r.IntN(6) {
		case 0:
			lasts = max(quiet+r.IntN(3)-1, 1)
		case 1:
			lasts = quiet + r.IntN(3*quiet+2)
		}
		p = append(p, slices.Repeat(pattern{level}, lasts)...)
		level = !level
	}
	return append(p, slices.Repeat(pattern{!level}, quiet+1)...)
}

// at is the time of a millisecond.
func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }

// changed reports whether there is an edge at a millisecond.
func (p pattern) changed(ms int) bool { return ms > 0 && p[ms] != p[ms-1] }

// edges returns, for each millisecond, the time of the last edge; 0 before the first one.
func (p pattern) edges() []int {
	last := make([]int, len(p))
	for ms := 1; ms < len(p); ms++ {
		if last[ms] = last[ms-1]; p.changed(ms) {
			last[ms] = ms
		}
	}
	return last
}

// rules is the expected report of a pattern, computed from the rules only
// one millisecond after the other: each change as "on since 7, reported at 12".
func (p pattern) rules(mode Mode, quiet int) (got []string) {
	reported, last := false, false
	report := func(since, now int) {
		got = append(got, fmt.Sprintf("%v since %d, reported at %d", p[since], since, now))
		reported, last = true, p[since]
	}
	edge := p.edges()
	for now := range p {
		// A level that has held for the time counts now, also if it ends now.
		if since := now - quiet; quiet > 0 && since >= 0 && edge[now-1] == since && (!reported || p[since] != last) {
			report(since, now)
		}
		if quiet == 0 && (!reported || p[now] != last) {
			report(now, now)
		}
		// The first edge after a rest counts at once.
		if mode == Settle && reported && p.changed(now) && p[now] != last && edge[now-1] <= now-quiet {
			report(now, now)
		}
	}
	return got
}

// run is what the debounce reports of a pattern, reported its edges alone.
func (p pattern) run(mode Mode, quiet int) (got []string, d *debounce) {
	d = &debounce{mode: mode, quiet: time.Duration(quiet) * time.Millisecond}
	note := func(c Change, ok bool, now int) {
		if ok {
			got = append(got, fmt.Sprintf("%v since %d, reported at %d", c.On, c.Since.UnixMilli(), now))
		}
	}
	for now := range p {
		c, ok := d.rest(at(now))
		note(c, ok, now)
		switch {
		case now == 0:
			c, ok = d.level(p[0], at(0))
		case p.changed(now):
			c, ok = d.edge(p[now], at(now), 0)
		default:
			continue
		}
		note(c, ok, now)
		c, ok = d.rest(at(now)) // a debounce of 0
		note(c, ok, now)
	}
	return got, d
}

// TestDebounceMatchesAModel compares 10,000 patterns in both modes with a
// model that implements the documented rules independently.
func TestDebounceMatchesAModel(t *testing.T) {
	swallowed := 0
	for seed := range uint64(10000) {
		r := rand.New(rand.NewPCG(seed, 4))
		quiet := r.IntN(60)
		p := bouncing(r, quiet)
		for _, mode := range []Mode{Stable, Settle} {
			got, d := p.run(mode, quiet)
			if want := p.rules(mode, quiet); !slices.Equal(got, want) {
				t.Fatalf("seed %d, %s, %d ms:\ngot  %q\nwant %q", seed, mode, quiet, got, want)
			}
			if !d.counting || d.last != p[len(p)-1] {
				t.Fatalf("seed %d, %s, %d ms: ended at %v, the contact at %v", seed, mode, quiet, d.last, p[len(p)-1])
			}
			edges := 0
			for ms := range p {
				if p.changed(ms) {
					edges++
				}
			}
			if sum := len(got) - 1 + int(d.swallowed()); sum != edges {
				t.Fatalf("seed %d, %s, %d ms: %d changes and %d swallowed of %d edges", seed, mode, quiet, len(got)-1,
					d.swallowed(), edges)
			}
			swallowed += int(d.swallowed())
		}
	}
	if swallowed < 10000 {
		t.Errorf("only %d edges swallowed: the patterns do not bounce", swallowed)
	}
}

func TestSettleReportsTheFirstEdgeAtOnce(t *testing.T) {
	d := debounce{mode: Settle, quiet: 50 * time.Millisecond}
	d.level(false, at(0))
	if c, ok := d.rest(at(50)); !ok || c.On {
		t.Fatal("did not report of the level of the start")
	}
	if c, ok := d.edge(true, at(1000), 0); !ok || !c.On || !c.Since.Equal(at(1000)) {
		t.Fatal("did not report at once", c, ok)
	}
	if _, ok := d.edge(false, at(1003), 0); ok {
		t.Fatal("reported a bounce")
	}
	if due := d.due(); !due.Equal(at(1053)) {
		t.Fatal("due at", due)
	}
	if c, ok := d.rest(at(1053)); !ok || c.On || !c.Since.Equal(at(1003)) {
		t.Fatal("did not report that it is off again", c, ok)
	}
	if n := d.swallowed(); n != 0 {
		t.Error("swallowed", n)
	}
}

func TestStableIgnoresShortPulses(t *testing.T) {
	d := debounce{mode: Stable, quiet: 50 * time.Millisecond}
	d.level(false, at(0))
	d.rest(at(50))
	for ms := 100; ms < 100+200*49; ms += 49 {
		if c, ok := d.rest(at(ms)); ok {
			t.Fatal("reported a pulse", c)
		}
		if c, ok := d.edge(!d.on, at(ms), 0); ok {
			t.Fatal("reported a pulse", c)
		}
	}
	if n := d.swallowed(); n != 200 {
		t.Errorf("swallowed %d of 200", n)
	}
}

func TestEdgeToTheSameLevelCountsAsTwo(t *testing.T) {
	d := debounce{mode: Stable, quiet: 50 * time.Millisecond}
	d.level(true, at(0))
	d.edge(true, at(40), 0)
	if _, ok := d.rest(at(60)); ok {
		t.Fatal("reported a level that held for 20 ms")
	}
	if c, ok := d.rest(at(90)); !ok || !c.Since.Equal(at(40)) {
		t.Fatal("did not report of a level that held")
	}
	if n := d.swallowed(); n != 2 {
		t.Errorf("swallowed %d, want both edges", n)
	}
}

func TestPolledEdgeIsNotCountedTwice(t *testing.T) {
	d := debounce{mode: Settle, quiet: 50 * time.Millisecond}
	d.level(false, at(0))
	d.rest(at(50))
	if _, ok := d.level(true, at(101)); !ok {
		t.Fatal("a look that finds a change is an edge")
	}
	d.edge(true, at(101), 0) // the kernel reports it now
	if d.edges != 1 || d.swallowed() != 0 {
		t.Errorf("%d edges, %d swallowed", d.edges, d.swallowed())
	}
}

func TestLostEdgesCountAsActivity(t *testing.T) {
	d := debounce{mode: Stable, quiet: 50 * time.Millisecond}
	d.level(false, at(0))
	d.rest(at(50))
	d.edge(true, at(100), 0)
	d.miss(at(200)) // not known before
	if c, ok := d.rest(at(200)); ok {
		t.Fatal("reported a level that nobody saw hold", c)
	}
	d.edge(true, at(200), 7)
	if c, ok := d.rest(at(250)); !ok || !c.Since.Equal(at(200)) {
		t.Fatal(c, ok)
	}
	if d.edges != 9 || d.swallowed() != 8 {
		t.Errorf("%d edges, %d swallowed", d.edges, d.swallowed())
	}
}

// FuzzWatch gives a contact any input: times that go back, lost edges, polls that
// contradict the edges. For any input, the level reported last is the true one
// once the contact is quiet, readings alternate and are in order of time, and no
// more edges count than there were.
func FuzzWatch(f *testing.F) {
	f.Add([]byte{0, 50, 0, 30}, []byte{0x01, 20, 0x02, 3, 0x03, 200, 0x12, 1})
	f.Add([]byte{1, 50, 10, 2}, []byte{0x01, 20, 0x02, 3, 0x03, 2, 0x02, 1, 0x83, 255, 0x42, 255})
	f.Add([]byte{1, 0, 0, 1}, []byte{0x03, 0, 0x02, 0, 0x03, 0, 0x02, 0})
	f.Fuzz(func(t *testing.T, options, seen []byte) {
		if len(options) < 4 {
			return
		}
		w := Filter{
			debounce: debounce{mode: Stable, quiet: time.Duration(options[1]) * time.Millisecond},
			hold:     hold{length: time.Duration(options[2]) * time.Second},
			flapping: flapping{max: int(options[3])},
		}
		if options[0]%2 == 1 {
			w.debounce.mode = Settle
		}
		ms, on := 0, false
		for ; len(seen) >= 2; seen = seen[2:] {
			ms += int(seen[1]) << (seen[0] >> 3 & 7)
			on = seen[0]&1 == 1
			if seen[0]&2 == 0 {
				w.Level(on, at(ms))
			} else {
				w.Edge(on, at(ms-int(seen[0]>>6)), uint32(seen[0]>>2&1))
			}
		}
		w.Level(on, at(ms))
		end := w.now.Add(time.Duration(options[1])*time.Millisecond + time.Duration(options[2])*time.Second +
			flapWindow)
		w.Level(on, end)

		var readings []Notice
		changes, counted, flapped := 0, 0, false
		for _, n := range w.Take() {
			if n.Event != nil {
				flapped = true
				changes += n.Event["changes"].(int)
				counted += n.Event["readings"].(int)
				continue
			}
			if i := len(readings); i > 0 && (readings[i-1].On == n.On || n.Since.Before(readings[i-1].Since)) {
				t.Fatalf("%v after %v", n, readings[i-1])
			}
			readings = append(readings, n)
		}
		if len(readings) == 0 || readings[len(readings)-1].On != on {
			t.Fatalf("got %v, the contact ended at %v", readings, on)
		}
		if counted > len(readings) || flapped && changes < counted-1 {
			t.Fatalf("%d readings, events tell of %d, and of %d changes", len(readings), counted, changes)
		}
		if w.debounce.counted > w.debounce.edges {
			t.Fatalf("%d of %d edges counted", w.debounce.counted, w.debounce.edges)
		}
	})
}
