package debounce

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// calmFilter has got its first level, off, at 1 s.
func calmFilter(t *testing.T, w Filter) *Filter {
	t.Helper()
	w.Level(false, at(0))
	w.Level(false, at(1000))
	if ok := w.Take(); len(ok) != 1 || ok[0].On {
		t.Fatal(ok)
	}
	return &w
}

// report is the output of a watch, in short: "on@5" for a reading, "started
// 31/30" for an event with its changes and readings.
func report(w *Filter) string {
	var said []string
	for _, n := range w.Take() {
		switch {
		case n.Event != nil:
			said = append(said, fmt.Sprintf("%s %v/%v", n.Event["phase"], n.Event["changes"], n.Event["readings"]))
		case n.On:
			said = append(said, fmt.Sprintf("on@%v", n.Since.Sub(at(0)).Seconds()))
		default:
			said = append(said, fmt.Sprintf("off@%v", n.Since.Sub(at(0)).Seconds()))
		}
	}
	return strings.Join(said, " ")
}

func TestFlappingIsOneEventAndAReadingAMinute(t *testing.T) {
	w := calmFilter(t, Filter{debounce: debounce{mode: Stable}, flapping: flapping{max: 4}})
	for s := 10; s < 17; s++ { // seven changes a second apart; the level of the start is a minute ago by then
		w.Edge(s%2 == 0, at(60_000+1000*s), 0)
	}
	if got := report(w); got != "on@70 off@71 on@72 off@73 started 5/4" {
		t.Fatal(got)
	}
	w.Level(true, at(132_999))
	if got := report(w); got != "" {
		t.Fatal("before the minute is over:", got)
	}
	w.Level(true, at(133_000)) // a minute after the last reading: the level of now, and since when
	if got := report(w); got != "on@76" {
		t.Fatal(got)
	}
	w.Edge(false, at(300_000), 0) // long after: at once
	if got := report(w); got != "off@300" {
		t.Fatal(got)
	}
	w.Edge(true, at(650_000), 0)
	w.Edge(false, at(673_000), 0)
	w.Level(false, at(673_999))
	if got := report(w); got != "on@650" {
		t.Fatal(got)
	}
	w.Level(false, at(674_000)) // it began at 74 s; each of the ten minutes had no more than four changes
	if got := report(w); got != "off@673 ended 5/4" {
		t.Fatal(got)
	}
	w.Edge(true, at(675_000), 0)
	w.Edge(false, at(676_000), 0)
	if got := report(w); got != "on@675 off@676" {
		t.Fatal("afterwards everything is got:", got)
	}
}

func TestFlappingCountsEachHourWhileItGoesOn(t *testing.T) {
	w := calmFilter(t, Filter{debounce: debounce{mode: Stable}, flapping: flapping{max: 30}})
	const second, hours = 1000, 3
	n := 0
	for ms := 60_000; ms < 60_000+hours*3_600_000+61_000; ms += second {
		n++
		w.Edge(n%2 == 1, at(ms), 0)
	}
	var events []string
	changes, readings, got := 0, 0, 0
	for _, n := range w.Take() {
		if n.Event == nil {
			got++
			continue
		}
		events = append(events, fmt.Sprint(n.Event["phase"], " ", n.Event["window"]))
		changes += n.Event["changes"].(int)
		readings += n.Event["readings"].(int)
	}
	if got := strings.Join(events, ", "); got != "started 30s, continues 1h, continues 1h, continues 1h" {
		t.Error(got)
	}
	if changes < n-61 || changes > n || got > 30+hours*60+2 || readings > got {
		t.Errorf("events tell of %d of %d changes and of %d readings; there were %d", changes, n, readings, got)
	}
}

func TestRestlessContactFlapsWithoutChanges(t *testing.T) {
	for _, mode := range []Mode{Stable, Settle} {
		w := calmFilter(t, Filter{debounce: debounce{mode: mode, quiet: 50 * time.Millisecond},
			flapping: flapping{max: 30}})
		for ms := 60_000; ms <= 130_000; ms += 10 {
			w.Edge(ms%20 == 0, at(ms), 0)
		}
		w.Level(true, at(1_000_000))
		got, want := report(w), "started 0/0 on@130 ended 1/1"
		if mode == Settle { // the first edge is at once, the last edge leads to the same level
			want = "on@60 started 0/0 ended 0/0"
		}
		if got != want {
			t.Errorf("%s: %s; want %s", mode, got, want)
		}
	}
}

func TestFlappingMayBeSwitchedOff(t *testing.T) {
	w := calmFilter(t, Filter{debounce: debounce{mode: Stable}})
	for n := range 1000 {
		w.Edge(n%2 == 0, at(60_000+n), 0)
	}
	if ok := w.Take(); len(ok) != 1000 {
		t.Errorf("%d readings", len(ok))
	}
}

func TestHoldIsExtendedByEachDetection(t *testing.T) {
	w := calmFilter(t, Filter{debounce: debounce{mode: Settle, quiet: 50 * time.Millisecond},
		hold: hold{length: 30 * time.Second}})
	w.Edge(true, at(10_000), 0)
	w.Edge(false, at(12_000), 0)
	w.Edge(true, at(41_000), 0) // 29 s after it was on last
	w.Edge(false, at(50_000), 0)
	w.Level(false, at(79_999))
	if got := report(w); got != "on@10" {
		t.Fatal(got)
	}
	if due := w.Due(); !due.Equal(at(80_000)) {
		t.Fatal("due at", due)
	}
	w.Level(false, at(80_000))
	w.Edge(true, at(81_000), 0)
	if got := report(w); got != "off@80 on@81" {
		t.Fatal(got)
	}
}

func TestHoldCountsFromTheEdge(t *testing.T) {
	w := calmFilter(t, Filter{debounce: debounce{mode: Stable, quiet: 50 * time.Millisecond},
		hold: hold{length: 30 * time.Second}})
	w.Edge(true, at(10_000), 0)
	w.Edge(false, at(12_000), 0)
	w.Level(false, at(42_000))
	if got := report(w); got != "on@10 off@42" {
		t.Error(got)
	}
}

func TestLevelBeforeLostEdgesIsIgnored(t *testing.T) {
	w := calmFilter(t, Filter{debounce: debounce{mode: Stable, quiet: 50 * time.Millisecond}})
	w.Edge(true, at(2000), 0)
	w.Edge(false, at(2200), 7)
	if got := report(w); got != "" {
		t.Error(got)
	}
}
