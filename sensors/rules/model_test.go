package rules

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// histories is the number of random histories for a model; build/prove uses more.
func histories() int {
	if os.Getenv("HOLDFAST_PROVE") != "" {
		return 10_000
	}
	return 1_000
}

// check checks a property with so many histories; rapid.Check makes 100.
func check(t *testing.T, property func(*rapid.T)) {
	for range histories() / 100 {
		rapid.Check(t, property)
	}
}

// A modelTrigger is the model of a trigger of a rule. It evaluates all conditions again in each second.
type modelTrigger struct {
	rule       Rule
	conditions []Condition
	seconds    int // for how long it has been met; -1: it is not met
}

// advance evaluates the conditions after a time, and reports whether the rule fires.
func (c *modelTrigger) advance(said map[string]string, elapsed int) bool {
	for _, one := range c.conditions {
		word := said[one.Stream]
		if word != one.Is && !(word == "fails" && c.rule.FaultTrips) {
			c.seconds = -1
			return false
		}
	}
	before := c.seconds
	if before < 0 {
		c.seconds = 0
	} else {
		c.seconds += elapsed
	}
	wanted := int(c.rule.For / time.Second)
	return c.seconds >= wanted && (before < 0 || before < wanted)
}

// TestRulesMatchAModel uses random rules and readings.
func TestRulesMatchAModel(t *testing.T) {
	streams := []string{"cellar", "kitchen", "door"}
	drawRule := func(t *rapid.T, name string) Rule {
		var all []Condition
		for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(streams), 1, 3, rapid.ID[string]).Draw(t, "streams") {
			all = append(all, Condition{s, rapid.SampledFrom(words[s]).Draw(t, "word")})
		}
		r := Rule{Name: name, Any: all, For: time.Duration(rapid.IntRange(0, 4).Draw(t, "for")) * time.Second,
			FaultTrips: rapid.Bool().Draw(t, "trips"), Then: []Action{{Output: name, On: true}}}
		if rapid.Bool().Draw(t, "all") {
			r.All, r.Any = r.Any, nil
		}
		return r
	}
	check(t, func(t *rapid.T) {
		rules := []Rule{drawRule(t, "a"), drawRule(t, "b")}
		var plain []*modelTrigger
		for i := range rules {
			for _, trigger := range triggersOf(&rules[i]) {
				plain = append(plain, &modelTrigger{rules[i], trigger.conditions, -1})
			}
		}
		e, said := NewEngine(rules, nil, arming.Options{}, start), map[string]string{}
		for second := 1; second < 40; second++ {
			now := start.Add(time.Duration(second) * time.Second)
			want := advanceAll(plain, said, 1)
			e.Advance(now)
			if rapid.Bool().Draw(t, "reading") {
				stream := rapid.SampledFrom(streams).Draw(t, "stream")
				word := rapid.SampledFrom(append([]string{"fails"}, words[stream]...)).Draw(t, "says")
				said[stream] = word
				e.Observe(now, readingOf(stream, word))
				want = append(want, advanceAll(plain, said, 0)...)
			}
			var got []string
			for _, effect := range e.Take() {
				got = append(got, effect.Order.Output)
			}
			if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				t.Fatalf("second %d, %v: fired %v, want %v", second, said, got, want)
			}
		}
	})
}

func advanceAll(plain []*modelTrigger, said map[string]string, elapsed int) (fired []string) {
	for _, c := range plain {
		if c.advance(said, elapsed) {
			fired = append(fired, c.rule.Name)
		}
	}
	return fired
}

// A watcher checks the invariants of an alarm after each effect of an engine.
type watcher struct {
	t     *rapid.T
	state string
	since time.Time
	on    map[string]bool // outputs that rules for the panel have switched on
}

// observe checks the effects of one event.
func (w *watcher) observe(event string, effects []Effect) {
	for _, e := range effects {
		switch {
		case e.Change != nil:
			w.change(event, *e.Change)
		case e.Order != nil && e.Order.On && (e.Order.By == "rule:intruder" || e.Order.By == "rule:motion"):
			if w.state == arming.Disarmed || w.state == arming.Arming {
				w.t.Fatalf("%s: %s while it is %s", event, formatEffect(e), w.state)
			}
			w.on[e.Order.Output] = true
		case e.Order != nil && e.Order.On && e.Order.By == "rule:tamper":
			w.on[e.Order.Output] = true
		case e.Order != nil && !e.Order.On && e.Order.By == "arming":
			delete(w.on, e.Order.Output)
		}
	}
}

// change checks that a change of the state is allowed.
func (w *watcher) change(event string, c arming.Change) {
	if w.state == arming.Pending && c.State != arming.Pending {
		late := c.At.Sub(w.since) > 20*time.Second
		if c.State != arming.Triggered && c.State != arming.Disarmed || late {
			w.t.Fatalf("%s: pending became %s after %v", event, c.State, c.At.Sub(w.since))
		}
	}
	if c.State == arming.Disarmed && c.By != "siren" && len(w.on) > 0 {
		w.t.Fatalf("%s: disarmed by %s, and still on: %v", event, c.By, w.on)
	}
	if strings.HasPrefix(c.State, "armed") && w.state == arming.Disarmed {
		w.t.Fatalf("%s: armed without an exit delay", event)
	}
	w.state, w.since = c.State, c.At
}

// TestAlarmIsNeverLost uses random events and power cuts. Invariants: a rule for a mode runs only
// while the panel is armed in it; an entry delay ends in time, with a code or an alarm; disarming
// switches all outputs off; and a power cut changes only pending, which becomes triggered.
func TestAlarmIsNeverLost(t *testing.T) {
	events := []string{"door open", "door closed", "window open", "window closed", "hall motion", "hall clear",
		"loop cut", "loop closed", "door fails", "key on", "key off", "order armed_away", "order armed_home",
		"order disarmed", "order armed_away window", "wait", "wait longer", "cut"}
	check(t, func(t *rapid.T) {
		e, now := newHouse(arming.Saved{State: arming.Disarmed}), start
		w := &watcher{t: t, state: arming.Disarmed, on: map[string]bool{}}
		w.observe("start", e.Take())
		for _, event := range rapid.SliceOfN(rapid.SampledFrom(events), 30, 80).Draw(t, "events") {
			now = now.Add(time.Second)
			switch f := strings.Fields(event); {
			case event == "cut":
				saved, _ := e.Saved()
				before := saved.State
				w.on = map[string]bool{} // outputs start at their safe level
				e = NewEngine(house(), arming.NewPanel(options(), saved, now, 0, false), options(), now)
				if before == arming.Pending {
					before = arming.Triggered
				}
				if after, _ := e.Saved(); after.State != before {
					t.Fatalf("a power cut made %s of %s", after.State, saved.State)
				}
				w.state = before // the orders of its rules belong to this state
			case f[0] == "wait":
				now = now.Add(time.Duration(len(f)*len(f)) * 12 * time.Second)
				e.Advance(now)
			case f[0] == "order":
				e.Order(now, arming.Order{To: f[1], Bypass: f[2:], By: "order"})
			default:
				e.Observe(now, readingOf(f[0], f[1]))
			}
			w.observe(event, e.Take())
			if w.state == arming.Pending && now.Sub(w.since) > 20*time.Second {
				t.Fatalf("%s: pending for %v", event, now.Sub(w.since))
			}
		}
	})
}
