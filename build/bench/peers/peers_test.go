package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestFiguresThatPeersWinAreListed(t *testing.T) {
	results := []result{
		{peer: "holdfast", rate: 100, cpu: 10},
		{peer: "faster", rate: 106, cpu: 10},
		{peer: "as fast", rate: 104, cpu: 9.6},
		{peer: "leaner", rate: 50, cpu: 5},
		{peer: "default", rate: 200, cpu: 4}, // also holdfast
	}
	var b strings.Builder
	table(&b, ofDrain, results)
	for _, want := range []string{"- drained, readings/s: faster. Why: ", "- CPU, µs a reading: leaner. Why: "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	for _, f := range slices.Concat(ofOutage, ofDrain, ofStart, ofLarge) {
		if f.name == "out of order" || f.name == "lost" {
			continue // holdfast loses no figure here
		}
		if all := reasons[f.name]; len(all) == 0 || len(all[len(all)-1].peers) > 0 {
			t.Errorf("no reason is known why any peer is ahead in %s", f.name)
		}
	}
}

func TestPeersAheadForOneReasonShareALine(t *testing.T) {
	var b strings.Builder
	losses(&b, figure{name: "taken in, readings/s"}, []string{"minimal", "ring", "paho"})
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "minimal, paho.") || !strings.Contains(lines[1], ": ring.") {
		t.Errorf("%q", lines)
	}
	b.Reset()
	table(&b, ofStart, []result{{peer: "holdfast", start: 1}, {peer: "paho", start: 2}})
	if !strings.Contains(b.String(), "No peer is ahead") {
		t.Errorf("%s", b.String())
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

func TestTargetsAreRatiosOfWhatWasMeasured(t *testing.T) {
	var b strings.Builder
	targets(&b, findings{
		drains: map[int][]result{
			20:  {{peer: "minimal", rate: 100, cpu: 10}, {peer: "holdfast", rate: 90, cpu: 15}, {peer: "default", rate: 160}},
			128: {{peer: "minimal", rate: 200, cpu: 8}},
		},
		starts: []result{{peer: "agent", start: 39.6}},
	})
	for _, want := range []string{"window 20 | ≤ 1.10 | 1.50 |", "window 20 | ≥ 0.95 | 0.90 |", "| ≥ 0.90 | 0.80 |",
		"| ≤ 40 | 40 |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	for _, none := range []string{"window 128", "MB"} {
		if strings.Contains(b.String(), none) {
			t.Errorf("%q was not measured:\n%s", none, b.String())
		}
	}
}

// aRing returns a ring without a link.
func aRing(t *testing.T, dir string) *ring {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stop() // no link
	p, err := openRing(ctx, job{Dir: dir, Window: 20})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*ring)
}

func TestTheRingKeepsWhatIsNotAcknowledged(t *testing.T) {
	dir := t.TempDir()
	r := aRing(t, dir)
	for i := range 5 {
		if err := r.put(i, fmt.Appendf(nil, "reading %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		r.next(t.Context())
		r.done()
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	r = aRing(t, dir)
	for _, want := range []string{"reading 2", "reading 3", "reading 4"} {
		if got := r.next(t.Context()); string(got) != want {
			t.Errorf("%q waits, want %q", got, want)
		}
	}
	if r.any() {
		t.Error("more waits than was put")
	}
	if err := r.put(0, make([]byte, ringSlot)); err == nil {
		t.Error("a payload is longer than its slot")
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

func TestATornSlotIsNotRead(t *testing.T) {
	dir := t.TempDir()
	r := aRing(t, dir)
	for i := range 3 {
		if err := r.put(i, []byte("reading")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.file.WriteAt([]byte("x"), slotAt(2)+slotHead); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	r = aRing(t, dir)
	defer r.close()
	if got := r.next(t.Context()); string(got) != "reading" || r.any() {
		t.Errorf("%q waits, and more: %t; want what stands before the torn slot", got, r.any())
	}
}
