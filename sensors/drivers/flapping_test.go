package drivers

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// calmWatch has told its first level, off, at 1 s.
func calmWatch(t *testing.T, w watch) *watch {
	t.Helper()
	w.look(false, at(0))
	w.look(false, at(1000))
	if news := w.take(); len(news) != 1 || news[0].on {
		t.Fatal(news)
	}
	return &w
}

// tell is what a watch has to say, in short: "on@5" for a reading, "started
// 31/30" for an event with its changes and readings.
func tell(w *watch) string {
	var said []string
	for _, n := range w.take() {
		switch {
		case n.event != nil:
			said = append(said, fmt.Sprintf("%s %v/%v", n.event["phase"], n.event["changes"], n.event["readings"]))
		case n.on:
			said = append(said, fmt.Sprintf("on@%v", n.since.Sub(at(0)).Seconds()))
		default:
			said = append(said, fmt.Sprintf("off@%v", n.since.Sub(at(0)).Seconds()))
		}
	}
	return strings.Join(said, " ")
}

func TestFlappingIsOneEventAndAReadingAMinute(t *testing.T) {
	w := calmWatch(t, watch{debounce: debounce{mode: debounceStable}, flapping: flapping{most: 4}})
	for s := 10; s < 17; s++ { // seven changes a second apart; the level of the start is a minute ago by then
		w.edge(s%2 == 0, at(60_000+1000*s), 0)
	}
	if got := tell(w); got != "on@70 off@71 on@72 off@73 started 5/4" {
		t.Fatal(got)
	}
	w.look(true, at(132_999))
	if got := tell(w); got != "" {
		t.Fatal("before the minute is over:", got)
	}
	w.look(true, at(133_000)) // a minute after the last reading: the level of now, and since when
	if got := tell(w); got != "on@76" {
		t.Fatal(got)
	}
	w.edge(false, at(300_000), 0) // long after: at once
	if got := tell(w); got != "off@300" {
		t.Fatal(got)
	}
	w.edge(true, at(650_000), 0)
	w.edge(false, at(673_000), 0)
	w.look(false, at(673_999))
	if got := tell(w); got != "on@650" {
		t.Fatal(got)
	}
	w.look(false, at(674_000)) // it began at 74 s; each of the ten minutes had no more than four changes
	if got := tell(w); got != "off@673 ended 5/4" {
		t.Fatal(got)
	}
	w.edge(true, at(675_000), 0)
	w.edge(false, at(676_000), 0)
	if got := tell(w); got != "on@675 off@676" {
		t.Fatal("afterwards everything is told:", got)
	}
}

func TestFlappingCountsEachHourWhileItGoesOn(t *testing.T) {
	w := calmWatch(t, watch{debounce: debounce{mode: debounceStable}, flapping: flapping{most: 30}})
	const second, hours = 1000, 3
	n := 0
	for ms := 60_000; ms < 60_000+hours*3_600_000+61_000; ms += second {
		n++
		w.edge(n%2 == 1, at(ms), 0)
	}
	var events []string
	changes, readings, told := 0, 0, 0
	for _, n := range w.take() {
		if n.event == nil {
			told++
			continue
		}
		events = append(events, fmt.Sprint(n.event["phase"], " ", n.event["window"]))
		changes += n.event["changes"].(int)
		readings += n.event["readings"].(int)
	}
	if got := strings.Join(events, ", "); got != "started 30s, continues 1h, continues 1h, continues 1h" {
		t.Error(got)
	}
	if changes < n-61 || changes > n || told > 30+hours*60+2 || readings > told {
		t.Errorf("events tell of %d of %d changes and of %d readings; there were %d", changes, n, readings, told)
	}
}

func TestContactWithoutRestFlapsThoughNothingCounts(t *testing.T) {
	for _, mode := range []debounceMode{debounceStable, debounceSettle} {
		w := calmWatch(t, watch{debounce: debounce{mode: mode, quiet: 50 * time.Millisecond}, flapping: flapping{most: 30}})
		for ms := 60_000; ms <= 130_000; ms += 10 {
			w.edge(ms%20 == 0, at(ms), 0)
		}
		w.look(true, at(1_000_000))
		got, want := tell(w), "started 0/0 on@130 ended 1/1"
		if mode == debounceSettle { // the first edge is at once, the last edge leads to the same level
			want = "on@60 started 0/0 ended 0/0"
		}
		if got != want {
			t.Errorf("%s: %s; want %s", mode, got, want)
		}
	}
}

func TestFlappingMayBeSwitchedOff(t *testing.T) {
	w := calmWatch(t, watch{debounce: debounce{mode: debounceStable}})
	for n := range 1000 {
		w.edge(n%2 == 0, at(60_000+n), 0)
	}
	if news := w.take(); len(news) != 1000 {
		t.Errorf("%d readings", len(news))
	}
}

func TestHoldKeepsADetectionAndEachFurtherOneBeginsItAnew(t *testing.T) {
	w := calmWatch(t, watch{debounce: debounce{mode: debounceSettle, quiet: 50 * time.Millisecond}, hold: hold{length: 30 * time.Second}})
	w.edge(true, at(10_000), 0)
	w.edge(false, at(12_000), 0)
	w.edge(true, at(41_000), 0) // 29 s after it was on last
	w.edge(false, at(50_000), 0)
	w.look(false, at(79_999))
	if got := tell(w); got != "on@10" {
		t.Fatal(got)
	}
	if due := w.due(); !due.Equal(at(80_000)) {
		t.Fatal("due at", due)
	}
	w.look(false, at(80_000))
	w.edge(true, at(81_000), 0)
	if got := tell(w); got != "off@80 on@81" {
		t.Fatal(got)
	}
}

func TestHoldCountsFromTheEdgeAndNotFromWhenItCounted(t *testing.T) {
	w := calmWatch(t, watch{debounce: debounce{mode: debounceStable, quiet: 50 * time.Millisecond}, hold: hold{length: 30 * time.Second}})
	w.edge(true, at(10_000), 0)
	w.edge(false, at(12_000), 0)
	w.look(false, at(42_000))
	if got := tell(w); got != "on@10 off@42" {
		t.Error(got)
	}
}

func TestLevelBeforeLostEdgesIsNotVouchedFor(t *testing.T) {
	w := calmWatch(t, watch{debounce: debounce{mode: debounceStable, quiet: 50 * time.Millisecond}})
	w.edge(true, at(2000), 0)
	w.edge(false, at(2200), 7)
	if got := tell(w); got != "" {
		t.Error(got)
	}
}

func TestSpanIsWrittenAsAPersonDoes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", 20 * time.Second: "20s", 61 * time.Minute: "1h1m", 31_400 * time.Millisecond: "31s",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
