package main

import (
	"strings"
	"testing"
)

func TestWhatHoldfastDoesNotWinIsSaid(t *testing.T) {
	results := []result{
		{peer: "holdfast", rate: 100, cpu: 10},
		{peer: "faster", rate: 106, cpu: 10},
		{peer: "as fast", rate: 104, cpu: 9.6},
		{peer: "leaner", rate: 50, cpu: 5},
	}
	var b strings.Builder
	table(&b, ofDrain, results)
	for _, want := range []string{"- drained, readings/s: faster. Why: ", "- CPU, µs a reading: leaner. Why: "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	for _, f := range append(append([]figure{}, ofOutage...), ofDrain...) {
		if f.name != "out of order" && f.name != "lost" && reasons[f.name] == "" {
			t.Errorf("no reason is known for %s", f.name)
		}
	}
}

func TestArrivalsAreCounted(t *testing.T) {
	a := arrivals{seen: map[int]bool{}}
	for _, text := range []string{`{"seq":1}`, `{"seq":3,"v":1}`, `{"boot":"1","seq":2}`, `{"seq":3}`, `{"seq":x}`,
		``} {
		a.take([]byte(text))
	}
	if len(a.seen) != 3 || a.twice != 1 || a.mixed != 1 || a.newest != 3 {
		t.Errorf("%d seen, %d twice, %d out of order, the newest is %d", len(a.seen), a.twice, a.mixed, a.newest)
	}
}

func TestMediansAreOfEachFigure(t *testing.T) {
	m := medians([]result{{peer: "p", rate: 3, cpu: 1}, {peer: "p", rate: 1, cpu: 2}, {peer: "p", rate: 2, cpu: 3}})
	if m.peer != "p" || m.rate != 2 || m.cpu != 2 {
		t.Errorf("%+v", m)
	}
}
