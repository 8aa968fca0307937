package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// words are the states of the streams of the tests, by value.
var words = map[string][]string{"door": {"closed", "open"}, "window": {"closed", "open"}, "hall": {"clear", "motion"},
	"loop": {"closed", "open", "short", "cut"}, "cellar": {"dry", "wet"}, "kitchen": {"dry", "wet"}, "key": {"off", "on"}}

// readingOf returns a reading of a stream: one of its words, or "fails".
func readingOf(stream, word string) sensors.Reading {
	if word == "fails" {
		return sensors.Reading{Stream: stream, Err: "no acknowledge"}
	}
	i := slices.Index(words[stream], word)
	if i < 0 {
		panic(stream + " does not say " + word)
	}
	return sensors.Reading{Stream: stream, Value: float64(i), State: word}
}

// formatEffect formats an effect for comparison, with the seconds since the start.
func formatEffect(e Effect) string {
	at := fmt.Sprintf("%gs ", e.At.Sub(start).Seconds())
	switch {
	case e.Order != nil && e.Order.On:
		return fmt.Sprintf("%s%s on %s by %s", at, e.Order.Output, clock.FormatDuration(e.Order.For), e.Order.By)
	case e.Order != nil:
		return fmt.Sprintf("%s%s off by %s", at, e.Order.Output, e.Order.By)
	case e.Change != nil:
		return fmt.Sprintf("%s%s by %s", at, e.Change.State, e.Change.By)
	}
	if e.Gone != "" {
		return at + "gone: " + e.Gone
	}
	return at + "refused: " + e.Refused
}

// runScript runs a script with lines such as "3s door open", "5s order armed_away" and "9s" in an
// engine, and returns the effects.
func runScript(e *Engine, script string) (all []string) {
	e.Take()
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		f := strings.Fields(line)
		after, err := time.ParseDuration(f[0])
		if err != nil {
			panic(err)
		}
		switch now := start.Add(after); {
		case len(f) == 1:
			e.Advance(now)
		case f[1] == "order":
			if a := e.Order(now, arming.Order{To: f[2], Bypass: f[3:], By: "order:a1"}); !a.Done {
				all = append(all, f[0]+" refused: "+a.Why)
			}
		default:
			e.Observe(now, readingOf(f[1], f[2]))
		}
		for _, effect := range e.Take() {
			all = append(all, formatEffect(effect))
		}
	}
	return all
}

// when returns a rule for the siren with one condition.
func when(name, stream, is string, armed ...string) Rule {
	return Rule{Name: name, Any: []Condition{{stream, is}}, Armed: armed,
		Then: []Action{{Output: "siren", On: true, For: 3 * time.Minute}}}
}

var pump = []Action{{Output: "pump", On: true, For: 10 * time.Minute}, {Output: "valve"}}

// TestRuleFiresWhenItsConditionsBecomeTrue is the semantics, case by case.
func TestRuleFiresWhenItsConditionsBecomeTrue(t *testing.T) {
	wet := []Condition{{"cellar", "wet"}, {"kitchen", "wet"}}
	for _, c := range []struct {
		name   string
		rule   Rule
		script string
		want   string
	}{
		{"the first reading fires", when("r", "door", "open"), "1s door open", "1s siren on 3m by rule:r"},
		{"once", when("r", "door", "open"), "1s door open\n2s door open\n9s", "1s siren on 3m by rule:r"},
		{"and again after it was not met", when("r", "door", "open"), "1s door open\n2s door closed\n3s door open",
			"1s siren on 3m by rule:r, 3s siren on 3m by rule:r"},
		{"each condition of any is a cause", Rule{Name: "r", Any: wet, Then: pump},
			"1s cellar wet\n2s kitchen wet\n3s cellar dry\n4s cellar wet",
			"1s pump on 10m by rule:r, 1s valve off by rule:r, 2s pump on 10m by rule:r, 2s valve off by rule:r, " +
				"4s pump on 10m by rule:r, 4s valve off by rule:r"},
		{"all at the same time", Rule{Name: "r", All: wet, Then: pump[:1]},
			"1s cellar wet\n2s cellar dry\n3s kitchen wet\n4s cellar wet", "4s pump on 10m by rule:r"},
		{"for a time", Rule{Name: "r", Any: wet, For: 5 * time.Second, Then: pump[:1]},
			"1s cellar wet\n4s cellar dry\n5s cellar wet\n9.9s\n30s", "10s pump on 10m by rule:r"},
		{"a time that is over at the next reading", Rule{Name: "r", Any: wet, For: 5 * time.Second, Then: pump[:1]},
			"1s cellar wet\n6s cellar dry", "6s pump on 10m by rule:r"},
		{"a stream that fails is not met", Rule{Name: "r", Any: wet, For: 5 * time.Second, Then: pump[:1]},
			"1s cellar wet\n3s cellar fails\n4s cellar wet\n20s", "9s pump on 10m by rule:r"},
		{"unless a fault trips", Rule{Name: "r", Any: wet, FaultTrips: true, Then: pump[:1]},
			"1s cellar dry\n3s cellar fails\n4s cellar fails\n5s cellar dry", "3s pump on 10m by rule:r"},
		{"wet that fails then stays met", Rule{Name: "r", Any: wet, FaultTrips: true, Then: pump[:1]},
			"1s cellar wet\n3s cellar fails", "1s pump on 10m by rule:r"},
		{"nothing is known of a stream that was not read", Rule{Name: "r", All: wet, FaultTrips: true, Then: pump[:1]},
			"1s cellar fails\n3s", ""},
	} {
		e := NewEngine([]Rule{c.rule}, nil, arming.Options{}, start)
		if got := strings.Join(runScript(e, c.script), ", "); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// options returns the options of the panel of the tests.
func options() arming.Options {
	return arming.Options{Modes: []string{"away", "home"}, Exit: 30 * time.Second, Siren: 3 * time.Minute, Rearm: true,
		Entry: map[string]time.Duration{"door": 20 * time.Second}, Follow: []string{"hall"}, Key: "key",
		Zones: []string{"door", "window", "hall"}}
}

// house has the rules of docs/alarm.md.
func house() []Rule {
	siren := []Action{{Output: "siren", On: true, For: 3 * time.Minute}}
	return []Rule{
		{Name: "intruder", Any: []Condition{{"door", "open"}, {"window", "open"}}, Armed: []string{"away", "home"},
			Then: siren},
		{Name: "motion", Any: []Condition{{"hall", "motion"}}, Armed: []string{"away"}, Then: siren},
		{Name: "tamper", Any: []Condition{{"loop", "cut"}, {"loop", "short"}}, Armed: []string{Always}, Then: siren},
		{Name: "flood", Any: []Condition{{"cellar", "wet"}}, Then: pump},
		{Name: "chime", Any: []Condition{{"door", "open"}}, Armed: []string{"disarmed"},
			Then: []Action{{Output: "bell", On: true, For: time.Second}}},
		{Name: "beep", Any: []Condition{{"alarm", "pending"}},
			Then: []Action{{Output: "buzzer", On: true, For: 20 * time.Second}}},
	}
}

// newHouse returns an engine with a panel in a saved state.
func newHouse(saved arming.Saved) *Engine {
	return NewEngine(house(), arming.NewPanel(options(), saved, start, 0, false), options(), start)
}

// stories are scenarios of the rules in docs/alarm.md.
var stories = []struct {
	name   string
	saved  arming.Saved
	script string
	want   []string
}{
	{"home by the door, and the code in time", away, "10s door open\n12s hall motion\n20s order disarmed\n99s",
		[]string{"10s buzzer on 20s by rule:beep", "10s pending by rule:intruder", "20s disarmed by order:a1",
			"20s bell on 1s by rule:chime"}},
	{"no code", away, "1s hall clear\n10s door open\n12s hall motion\n13s door closed\n300s",
		[]string{"10s pending by rule:intruder", "10s buzzer on 20s by rule:beep", "30s siren on 3m by rule:intruder",
			"30s siren on 3m by rule:motion", "30s triggered by rule:intruder", "210s armed_away by siren"}},
	{"by the window", away, "1s hall clear\n10s window open\n11s hall motion\n300s",
		[]string{"10s siren on 3m by rule:intruder", "10s triggered by rule:intruder", "11s siren on 3m by rule:motion",
			"11s triggered by rule:motion", "191s armed_away by siren"}},
	{"a window while the delay runs", away, "10s door open\n15s window open",
		[]string{"10s pending by rule:intruder", "10s buzzer on 20s by rule:beep", "15s siren on 3m by rule:intruder",
			"15s triggered by rule:intruder"}},
	{"motion without the door", away, "10s hall clear\n11s hall motion",
		[]string{"11s siren on 3m by rule:motion", "11s triggered by rule:motion"}},
	{"disarmed while the siren sounds", away, "10s window open\n40s order disarmed",
		[]string{"10s siren on 3m by rule:intruder", "10s triggered by rule:intruder", "40s siren off by arming",
			"40s disarmed by order:a1"}},
	{"on the way out", arming.Saved{State: arming.Disarmed},
		"1s hall motion\n2s order armed_away\n5s door open\n8s door closed\n33s\n40s hall motion\n" +
			"50s hall clear\n60s hall motion",
		[]string{"2s arming by order:a1", "32s armed_away by exit", "60s siren on 3m by rule:motion",
			"60s triggered by rule:motion"}},
	{"a door that is left open", arming.Saved{State: arming.Disarmed}, "2s order armed_away\n5s door open\n60s",
		[]string{"2s arming by order:a1", "32s pending by rule:intruder", "32s armed_away by exit",
			"32s buzzer on 20s by rule:beep",
			"52s siren on 3m by rule:intruder", "52s triggered by rule:intruder"}},
	{"a window that is bypassed", arming.Saved{State: arming.Disarmed},
		"1s window open\n2s order armed_home window\n40s window closed\n41s window open\n50s order disarmed\n" +
			"51s order armed_home\n90s",
		[]string{"2s arming by order:a1", "32s armed_home by exit", "50s disarmed by order:a1", "51s arming by order:a1",
			"81s armed_home by exit", "81s siren on 3m by rule:intruder", "81s triggered by rule:intruder"}},
	{"tampering while it is disarmed", arming.Saved{State: arming.Disarmed}, "1s loop cut\n300s",
		[]string{"1s siren on 3m by rule:tamper", "1s triggered by rule:tamper", "181s disarmed by siren"}},
	{"a flood concerns no panel", away, "1s cellar wet",
		[]string{"1s pump on 10m by rule:flood", "1s valve off by rule:flood"}},
	{"the key switch", arming.Saved{State: arming.Disarmed}, "1s key off\n2s key on\n40s key off",
		[]string{"2s arming by key", "32s armed_away by exit", "40s disarmed by key"}},
}

// away is the saved state of an empty house.
var away = arming.Saved{State: "armed_away", Mode: "away"}

func TestArmingWorksWithRules(t *testing.T) {
	for _, c := range stories {
		got := runScript(newHouse(c.saved), c.script)
		slices.Sort(got) // the order of effects at the same time does not matter here
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// TestPowerCutSilencesNoSiren: rules that waited for the entry delay run at once, and rules that
// had run before run again.
func TestPowerCutSilencesNoSiren(t *testing.T) {
	for _, state := range []string{arming.Pending, arming.Triggered} {
		e := newHouse(arming.Saved{State: state, Mode: "away", Rules: []string{"intruder"}})
		var got []string
		for _, effect := range e.Take() {
			got = append(got, formatEffect(effect))
		}
		want := []string{"0s siren on 3m by rule:intruder", "0s triggered by start"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", state, got, want)
		}
	}
}

// TestOrdersComeBeforeTheChange: the siren waits for nothing.
func TestOrdersComeBeforeTheChange(t *testing.T) {
	got := runScript(newHouse(arming.Saved{State: "armed_away", Mode: "away"}), "1s window open")
	if want := []string{"1s siren on 3m by rule:intruder", "1s triggered by rule:intruder"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDisarmingMakesOutputsSafe: outputs that a rule has moved from their safe level return to it,
// whether that is on or off. Others do not change.
func TestDisarmingMakesOutputsSafe(t *testing.T) {
	rule := Rule{Name: "window", Any: []Condition{{"window", "open"}}, Armed: []string{"away"}, Then: []Action{
		{Output: "siren", On: true}, {Output: "horn"}, {Output: "lock", Safe: true}, {Output: "valve", On: true, Safe: true}}}
	e := NewEngine([]Rule{rule}, arming.NewPanel(options(), away, start, 0, false), options(), start)
	runScript(e, "1s window open")
	got := runScript(e, "2s order disarmed")
	want := []string{"2s siren off by arming", "2s lock on 0s by arming", "2s disarmed by order:a1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestReloadKeepsRunningTimers: an unchanged rule keeps its timer, a new one starts with the latest
// readings of its streams, and a removed one does nothing.
func TestReloadKeepsRunningTimers(t *testing.T) {
	flood := Rule{Name: "flood", Any: []Condition{{"cellar", "wet"}}, For: time.Minute, Then: pump[:1]}
	gone := Rule{Name: "gone", Any: []Condition{{"cellar", "wet"}}, For: time.Minute, Then: pump[:1]}
	e := NewEngine([]Rule{flood, gone}, nil, arming.Options{}, start)
	e.Observe(start, readingOf("cellar", "wet"))
	later := start.Add(30 * time.Second)
	added := Rule{Name: "added", All: []Condition{{"cellar", "wet"}, {"kitchen", "wet"}}, For: time.Minute, Then: pump[:1]}
	// The engine has a newer state of the cellar.
	known := []sensors.Reading{readingOf("kitchen", "wet"), readingOf("cellar", "dry")}
	e.Change([]Rule{added, flood}, nil, arming.Options{}, known, later)
	got := runScript(e, "120s")
	if want := []string{"60s pump on 10m by rule:flood", "90s pump on 10m by rule:added"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestReloadKeepsThePanel: its state, its times and what is bypassed.
func TestReloadKeepsThePanel(t *testing.T) {
	panel := arming.NewPanel(options(), arming.Saved{State: arming.Disarmed}, start, 0, false)
	e := NewEngine(house(), panel, options(), start)
	runScript(e, "1s window open\n1s key off\n2s order armed_away window")
	opt := options()
	opt.Entry = map[string]time.Duration{"door": time.Minute}
	e.Change(house()[:3], panel, opt, nil, start.Add(10*time.Second))
	got := runScript(e, "11s key off\n40s door open\n200s")
	want := []string{"32s armed_away by exit", "40s pending by rule:intruder", "100s siren on 3m by rule:intruder",
		"100s triggered by rule:intruder"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestReloadLeavesNoSirenOn: disarming also switches off outputs of rules that were removed or
// changed since. If a rule was removed before its delay ends, this is reported.
func TestReloadLeavesNoSirenOn(t *testing.T) {
	bell := when("intruder", "window", "open", "away")
	bell.Then = []Action{{Output: "bell", On: true}}
	for name, rules := range map[string][]Rule{"removed": nil, "changed": {bell}} {
		panel := arming.NewPanel(options(), away, start, 0, false)
		e := NewEngine([]Rule{when("intruder", "window", "open", "away")}, panel, options(), start)
		runScript(e, "1s window open\n2s window closed")
		e.Change(rules, panel, options(), nil, start.Add(3*time.Second))
		got := runScript(e, "4s order disarmed")
		if want := []string{"4s siren off by arming", "4s disarmed by order:a1"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	panel := arming.NewPanel(options(), away, start, 0, false)
	e := NewEngine(house(), panel, options(), start)
	runScript(e, "1s door open")
	e.Change(nil, panel, options(), nil, start.Add(2*time.Second))
	got := runScript(e, "30s")
	if want := []string{"21s gone: intruder", "21s triggered by rule:intruder"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func BenchmarkObserve(b *testing.B) {
	e := newHouse(arming.Saved{State: "armed_away", Mode: "away"})
	readings := []sensors.Reading{readingOf("window", "open"), readingOf("window", "closed")}
	for i := 0; b.Loop(); i++ {
		e.Observe(start, readings[i%2])
		e.Take()
	}
}
