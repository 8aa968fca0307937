package arming

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// options returns the options of the panel of most tests.
func options() Options {
	return Options{Modes: []string{"away", "home"}, Exit: 30 * time.Second, Siren: 3 * time.Minute, Rearm: true,
		Entry: map[string]time.Duration{"door": 20 * time.Second}, Follow: []string{"hall"},
		Ready: []string{"window"}, Zones: []string{"window", "hall", "door"}, Key: "key"}
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// table is the state table of a panel: by state and event the next state, and whether the rule of the
// event runs (run), or also the rules that wait for the entry delay (all). An event that is not in a
// row changes nothing.
//
// A state is followed by its mode. "end" is the end of the running timer, "cut" a power cut. door,
// window and hall are rules for an armed mode, tamper is a rule for every state.
var table = map[string]map[string]string{
	"disarmed": {"away": "arming away", "home": "arming home", "tamper": "triggered run"},
	"arming away": {"disarm": "disarmed", "end": "armed away", "tamper": "triggered away run",
		"cut": "arming away"},
	"arming home": {"disarm": "disarmed", "end": "armed home", "tamper": "triggered home run",
		"cut": "arming home"},
	"armed away": {"disarm": "disarmed", "door": "pending away", "window": "triggered away run",
		"hall": "triggered away run", "tamper": "triggered away run"},
	"armed home": {"disarm": "disarmed", "door": "pending home", "window": "triggered home run",
		"hall": "triggered home run", "tamper": "triggered home run"},
	"pending away": {"disarm": "disarmed", "door": "pending away", "hall": "pending away",
		"window": "triggered away all", "tamper": "triggered away all", "end": "triggered away all",
		"cut": "triggered away all"},
	"pending home": {"disarm": "disarmed", "door": "pending home", "hall": "pending home",
		"window": "triggered home all", "tamper": "triggered home all", "end": "triggered home all",
		"cut": "triggered home all"},
	"triggered away": {"disarm": "disarmed", "door": "triggered away run", "window": "triggered away run",
		"hall": "triggered away run", "tamper": "triggered away run", "end": "armed away", "cut": "triggered away all"},
	"triggered home": {"disarm": "disarmed", "door": "triggered home run", "window": "triggered home run",
		"hall": "triggered home run", "tamper": "triggered home run", "end": "armed home", "cut": "triggered home all"},
	"triggered": {"disarm": "disarmed", "tamper": "triggered run", "end": "disarmed", "cut": "triggered all"},
}

// trips are the events that are rules of the panel.
var trips = map[string]Trip{
	"door":   {Rule: "door", Delay: 20 * time.Second},
	"window": {Rule: "window"},
	"hall":   {Rule: "hall", Follower: true},
	"tamper": {Rule: "tamper"},
}

// A history runs a panel and the table in parallel.
type history struct {
	panel *Panel
	now   time.Time
	state string   // the row of the table
	waits []string // rules of this alarm
	ran   []string // since the last disarm or start
}

// do applies an event to both, and compares them.
func (h *history) do(t *rapid.T, event string) {
	until := h.panel.Next()
	run, silence, changes := h.expect(event)
	h.toPanel(event)
	e := h.panel.Take()
	if got := shown(h.panel); got != h.state {
		t.Fatalf("%s: the panel is %q, want %q", event, got, h.state)
	}
	if !slices.Equal(e.Run, run) || !slices.Equal(e.Silence, silence) {
		t.Fatalf("%s: runs %v and silences %v, want %v and %v", event, e.Run, e.Silence, run, silence)
	}
	_, isTrip := trips[event]
	if strings.HasPrefix(h.state, "pending") && isTrip && changes && !until.IsZero() && h.panel.Next() != until {
		t.Fatalf("%s: the entry delay ends at %v, and did at %v", event, h.panel.Next(), until)
	}
	if saved, err := decode(h.panel.Saved().encode()); err != nil || saved.State != h.panel.State() {
		t.Fatalf("the state file of %+v: %v", h.panel.Saved(), err)
	}
}

// expect moves to the next state of the table. It returns which rules run and which are silenced, and
// whether the row of the table has the event.
func (h *history) expect(event string) (run, silence []string, changes bool) {
	cell := strings.Fields(table[h.state][event])
	trip, isTrip := trips[event]
	// Package rules decides in which states a rule is active.
	if isTrip && len(cell) > 0 && !slices.Contains(h.waits, trip.Rule) {
		h.waits = append(h.waits, trip.Rule)
	}
	switch {
	case len(cell) == 0:
	case cell[len(cell)-1] == "run":
		run = []string{trip.Rule}
	case cell[len(cell)-1] == "all":
		run = slices.Clone(h.waits)
	}
	for _, rule := range run {
		if !slices.Contains(h.ran, rule) {
			h.ran = append(h.ran, rule)
		}
	}
	if len(cell) > 0 {
		words := slices.DeleteFunc(cell, func(w string) bool { return w == "run" || w == "all" })
		h.state = strings.Join(words, " ")
	}
	if event == "disarm" {
		silence, h.ran = h.ran, nil
	}
	if strings.HasPrefix(h.state, "disarmed") || strings.HasPrefix(h.state, "arm") {
		h.waits = nil
	}
	return run, silence, len(cell) > 0
}

// toPanel applies an event to the panel.
func (h *history) toPanel(event string) {
	h.now = h.now.Add(time.Second)
	switch trip, isTrip := trips[event]; {
	case isTrip && (event == "tamper" || h.panel.Armed() != ""):
		h.panel.Trip(h.now, trip)
	case event == "disarm":
		h.panel.Order(h.now, Order{To: Disarmed, By: "order"})
	case event == "away" || event == "home":
		h.panel.Order(h.now, Order{To: "armed_" + event, By: "order", Bypass: nil})
	case event == "end" && !h.panel.Next().IsZero():
		h.now = h.panel.Next()
		h.panel.Advance(h.now)
	case event == "cut":
		h.panel, h.ran = NewPanel(options(), h.panel.Saved(), h.now, 0, false), nil
		h.panel.Observe(h.now, "window", 0, true)
		if strings.HasPrefix(h.state, "triggered") {
			h.ran = slices.Clone(h.waits)
		}
	}
}

// shown returns the state in the form of the table.
func shown(p *Panel) string {
	state, _, _ := strings.Cut(p.State(), "_")
	return strings.TrimSpace(state + " " + p.saved.Mode)
}

// TestPanelFollowsItsStateTable compares the panel with the table in random histories.
func TestPanelFollowsItsStateTable(t *testing.T) {
	events := []string{"away", "home", "disarm", "door", "window", "hall", "tamper", "end", "cut"}
	histories, n := 1_000, 0
	if os.Getenv("HOLDFAST_PROVE") != "" {
		histories = 10_000
	}
	for range histories / 100 { // rapid makes 100 histories of a check
		rapid.Check(t, func(t *rapid.T) {
			n++
			h := &history{panel: NewPanel(options(), Saved{State: Disarmed}, start, 0, false), now: start, state: Disarmed}
			h.panel.Take()
			h.panel.Observe(start, "window", 0, true)
			for _, event := range rapid.SliceOfN(rapid.SampledFrom(events), 30, 60).Draw(t, "events") {
				h.do(t, event)
			}
		})
	}
	t.Logf("%d histories", n)
}

// TestPanelRejectsInvalidCommands: orders that change nothing say why.
func TestPanelRejectsInvalidCommands(t *testing.T) {
	p := NewPanel(options(), Saved{State: Disarmed}, start, 0, false)
	order := func(to string, bypass ...string) string {
		return p.Order(start, Order{To: to, Bypass: bypass, By: "order:a1"}).Why
	}
	for _, c := range []struct {
		to, why string
		bypass  []string
	}{
		{"armed_night", "not in modes: night", nil},
		{"pending", "unknown state: pending", nil},
		{"armed_away", "unknown stream to bypass: cellar", []string{"cellar"}},
		{"armed_away", "open: window", nil}, // nothing is known of it yet
	} {
		if why := order(c.to, c.bypass...); why != c.why || p.State() != Disarmed {
			t.Errorf("%s without %v: %q, want %q", c.to, c.bypass, why, c.why)
		}
	}
	p.Observe(start, "window", 1, true)
	if why := order("armed_away"); why != "open: window" {
		t.Errorf("an open window: %q", why)
	}
	p.Observe(start, "window", 0, false)
	if why := order("armed_away"); why != "open: window" {
		t.Errorf("a window that fails: %q", why)
	}
	if why := order("armed_away", "window"); why != "" || p.State() != Arming || !p.IsBypassed("window") {
		t.Errorf("bypassed: %q, %s", why, p.State())
	}
	if why := order("armed_home", "window", "hall"); why != "it is arming: disarm first" || p.State() != Arming {
		t.Errorf("another mode: %q, %s", why, p.State())
	}
	if why := order("armed_away", "hall"); why != "it is arming: disarm first, then bypass" {
		t.Errorf("another bypass: %q", why)
	}
	p.Advance(start.Add(30 * time.Second))
	p.Trip(start.Add(time.Minute), Trip{Rule: "r"})
	if why := order("armed_home"); why != "it is triggered: disarm first" {
		t.Errorf("armed while it is triggered: %q", why)
	}
}

// TestKeySwitchActsOnChanges: its position at the start of the agent, and a cut wire, change nothing.
func TestKeySwitchActsOnChanges(t *testing.T) {
	away := Saved{State: "armed_away", Mode: "away"}
	for _, c := range []struct {
		name   string
		saved  Saved
		values []float64 // -1: it fails
		want   string
	}{
		{"off at the start", away, []float64{0}, "armed_away"},
		{"off at the start, fails and comes back", away, []float64{0, -1, 0}, "armed_away"},
		{"on, cut and on", away, []float64{1, 3, 1}, "armed_away"},
		{"turned off", away, []float64{1, 0}, "disarmed"},
		{"on at the start", Saved{State: Disarmed}, []float64{1}, "disarmed"},
		{"turned on", Saved{State: Disarmed}, []float64{0, 1}, "arming"},
	} {
		p := NewPanel(options(), c.saved, start, 0, false)
		p.Observe(start, "window", 0, true)
		for _, v := range c.values {
			p.Observe(start, "key", max(v, 0), v >= 0)
		}
		if p.State() != c.want {
			t.Errorf("%s: %s, want %s", c.name, p.State(), c.want)
		}
	}
	p := NewPanel(options(), Saved{State: Disarmed}, start, 0, false)
	p.Observe(start, "key", 0, true)
	p.Observe(start, "key", 1, true)
	if e := p.Take(); !slices.Equal(e.Refused, []string{"open: window"}) {
		t.Errorf("a key that cannot arm: %v", e.Refused)
	}
}

// TestRestartsDoNotExtendTheSirenTime: the time before a restart counts if the kernel kept running;
// after a power cut it starts again.
func TestRestartsDoNotExtendTheSirenTime(t *testing.T) {
	triggered := Saved{State: Triggered, Mode: "away", Rules: []string{"intruder"}}
	for _, c := range []struct {
		age   time.Duration
		known bool
		want  time.Duration
		runs  bool
	}{
		{time.Minute, true, 2 * time.Minute, true},
		{-time.Minute, true, 3 * time.Minute, true},
		{time.Hour, true, time.Millisecond, false},
		{time.Hour, false, 3 * time.Minute, true},
	} {
		p := NewPanel(options(), triggered, start, c.age, c.known)
		if e := p.Take(); p.Next() != start.Add(c.want) || slices.Equal(e.Run, triggered.Rules) != c.runs {
			t.Errorf("after %v: until %v, runs %v; want %v, %v", c.age, p.Next().Sub(start), e.Run, c.want, c.runs)
		}
	}
	forGood := options()
	forGood.Rearm = false
	if p := NewPanel(forGood, triggered, start, 0, false); !p.Next().IsZero() {
		t.Errorf("without rearm it ends at %v", p.Next())
	}
}
