package drivers

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A contact as the debouncer meets it: levels that last for some time each, and
// edges of which some never arrive.
type bounce struct {
	level bool
	lasts time.Duration
	heard bool // its first edge wakes the driver
}

var bounces = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) bounce {
	return bounce{
		level: rapid.Bool().Draw(t, "level"),
		lasts: time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond,
		heard: rapid.Bool().Draw(t, "heard"),
	}
}), 1, 40)

// levelAt is the true level at a time after the start, and for how long it has
// been that.
func levelAt(pattern []bounce, at time.Duration) (level bool, held time.Duration) {
	begin, since := time.Duration(0), time.Duration(0)
	for i, b := range pattern {
		if i > 0 && begin > at {
			break
		}
		if i == 0 || b.level != level {
			level, since = b.level, begin
		}
		begin += b.lasts
	}
	return level, at - since
}

// nextHeard is when the next edge wakes the driver, or the limit.
func nextHeard(pattern []bounce, after, limit time.Duration) (time.Duration, bool) {
	begin := time.Duration(0)
	for i, b := range pattern {
		if i > 0 && b.heard && begin > after && begin < limit && b.level != pattern[i-1].level {
			return begin, true
		}
		begin += b.lasts
	}
	return limit, false
}

func TestDebounceEndsAtTheTrueLevelAfterAnyBounce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := bounces.Draw(t, "pattern")
		hold := time.Duration(rapid.IntRange(0, 300).Draw(t, "hold")) * time.Millisecond
		start := time.Unix(0, 0)
		var end time.Duration
		for _, b := range pattern {
			end += b.lasts
		}
		quiet := end + hold + 2*edgeWait

		d := debounce{hold: hold}
		var told []bool
		for now := time.Duration(0); now <= quiet; {
			level, _ := levelAt(pattern, now)
			if d.see(level, start.Add(now)) {
				told = append(told, level)
				if d.since.After(start.Add(now - hold)) {
					t.Fatalf("told %v at %v, seen only since %v, hold %v", level, now, d.since.Sub(start), hold)
				}
			}
			wait := d.next(start.Add(now))
			if wait <= 0 || wait > edgeWait {
				t.Fatalf("would wait %v", wait)
			}
			woke, edge := nextHeard(pattern, now, now+wait)
			if now = woke; edge {
				d.edge(start.Add(now))
			}
		}

		final, _ := levelAt(pattern, quiet)
		if len(told) == 0 || told[len(told)-1] != final {
			t.Fatalf("told %v, the contact ended at %v", told, final)
		}
		for i := 1; i < len(told); i++ {
			if told[i] == told[i-1] {
				t.Fatalf("told %v twice in a row: %v", told[i], told)
			}
		}
	})
}

func TestDebounceNeverTellsOfAPulseShorterThanItsTime(t *testing.T) {
	d := debounce{hold: 50 * time.Millisecond}
	at := time.Unix(0, 0)
	d.see(false, at)
	if at = at.Add(50 * time.Millisecond); !d.see(false, at) {
		t.Fatal("did not tell of a level that held")
	}
	for range 100 {
		at = at.Add(time.Millisecond)
		d.edge(at)
		if d.see(true, at) {
			t.Fatal("told of a pulse")
		}
		at = at.Add(49 * time.Millisecond)
		d.edge(at)
		if d.see(false, at) {
			t.Fatal("told of the end of a pulse")
		}
	}
}

func TestDebounceCountsFromTheLastEdgeEvenIfTheLevelLooksTheSame(t *testing.T) {
	d := debounce{hold: 50 * time.Millisecond}
	at := time.Unix(0, 0)
	d.see(true, at)
	at = at.Add(40 * time.Millisecond)
	d.edge(at) // down and up again between two looks
	if d.see(true, at.Add(20*time.Millisecond)) {
		t.Fatal("told of a level that held for 20 ms")
	}
	if !d.see(true, at.Add(50*time.Millisecond)) {
		t.Fatal("did not tell of a level that held")
	}
}
