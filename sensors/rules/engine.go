package rules

import (
	"reflect"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// An Engine evaluates the rules and the panel. Its input are readings, orders and times;
// its output are the effects that [Engine.Take] returns. It reads no clock and does not
// block, so that the agent and `holdfast rules test` can use the same code. Only one
// goroutine at a time may use it.
//
// # When a rule fires
//
// A rule is met when its conditions are met, for as long as For says, and the panel is in a
// state that Armed names. When a rule begins to be met it fires: its actions run once. It
// fires again only after it was not met in between. Each condition of Any is a trigger of
// its own: a second door that is opened while the first one is open fires the rule again.
//
// Before the first reading of a stream no condition on it is met; so the first reading may
// fire a rule. The time of an action does not change when the rule is no longer met.
type Engine struct {
	rules    []Rule
	triggers []*trigger
	byStream map[string][]*trigger
	latest   map[string]word // by stream, only those that a rule or the panel uses
	next     time.Time       // when Advance has something to do; zero: never
	effects  []Effect        // since the last Take
	fired    []Fired         // since the last TakeFired

	panel *arming.Panel // nil: there is none
	opt   arming.Options
	armed string              // the panel's mode when all triggers were last evaluated
	stale map[string]bool     // streams of Follow that have not changed since the panel was armed
	ran   map[string][]Action // by rule that tripped: its actions since disarming; a reload keeps them
}

// A word is the state in the latest reading of a stream.
type word struct {
	is     string
	value  float64
	failed bool
}

// A trigger is a group of conditions that have to be met at the same time: all of All, or
// one of Any.
type trigger struct {
	rule       *Rule
	conditions []Condition
	met        bool
	due        time.Time // when it fires if it stays met; zero: it has fired, or it is not met
}

// An Effect has exactly one of its fields besides At set.
type Effect struct {
	At      time.Time
	Order   *outputs.Order
	Change  *arming.Change // of the panel
	Refused string         // why an order of the key switch was refused
	Gone    string         // a rule whose actions were due, but which the configuration no longer has
}

// Fired says that a rule has fired, and because of which streams: those of All, or one of
// Any.
type Fired struct {
	Rule    string
	Streams []string
}

// NewEngine returns an engine that has seen no reading yet. Afterwards only the engine may
// use the panel, which is nil if there is none.
func NewEngine(rules []Rule, panel *arming.Panel, opt arming.Options, now time.Time) *Engine {
	e := &Engine{latest: map[string]word{}, stale: map[string]bool{}, ran: map[string][]Action{}, panel: panel, opt: opt}
	e.Change(rules, panel, opt, nil, now)
	return e
}

// Change replaces the rules, and sets the panel if there was none. A rule that has not
// changed keeps its state and its running time. A new or changed rule starts as at the start
// of the agent, with the latest readings of its streams: if they meet it, it fires. known
// are the latest readings of streams that no rule has used so far.
func (e *Engine) Change(
	rules []Rule, panel *arming.Panel, opt arming.Options, known []sensors.Reading, now time.Time,
) {
	// A rule with any change is a new one: a longer For must not end at the old time.
	before := e.triggers
	e.rules, e.triggers, e.byStream = slices.Clone(rules), nil, map[string][]*trigger{}
	for i := range e.rules {
		for _, t := range triggersOf(&e.rules[i]) {
			if at := slices.IndexFunc(before, t.isLike); at >= 0 {
				t.met, t.due = before[at].met, before[at].due
			}
			e.triggers = append(e.triggers, t)
			for _, c := range t.conditions {
				e.byStream[c.Stream] = append(e.byStream[c.Stream], t)
			}
		}
	}
	if e.panel != nil && panel == e.panel {
		panel.Change(opt)
	}
	e.panel, e.opt = panel, opt
	e.addKnown(known, now)
	e.evaluate(now, e.triggers)
	e.settle(now)
}

// addKnown adds the states of streams that were not used before, forgets those that are no
// longer used, and passes all of them to the panel.
func (e *Engine) addKnown(known []sensors.Reading, now time.Time) {
	for _, r := range known {
		if _, newer := e.latest[r.Stream]; !newer {
			e.latest[r.Stream] = wordOf(r)
		}
	}
	for stream, w := range e.latest {
		if !e.Knows(stream) {
			delete(e.latest, stream)
		} else if e.panel != nil {
			e.panel.Observe(now, stream, w.value, !w.failed)
		}
	}
	if e.panel != nil {
		e.latest[arming.StreamName] = word{is: e.panel.State(), value: arming.Value(e.panel.State())}
	}
}

// wordOf returns the state in a reading.
func wordOf(r sensors.Reading) word {
	if r.Err != "" {
		return word{failed: true}
	}
	return word{is: r.State, value: r.Value}
}

// triggersOf returns the triggers of a rule, not met.
func triggersOf(r *Rule) (all []*trigger) {
	if len(r.All) > 0 {
		return []*trigger{{rule: r, conditions: r.All}}
	}
	for i := range r.Any {
		all = append(all, &trigger{rule: r, conditions: r.Any[i : i+1]})
	}
	return all
}

// isLike reports whether another trigger has the same conditions and an equal rule.
func (t *trigger) isLike(other *trigger) bool {
	return reflect.DeepEqual(t.conditions, other.conditions) && reflect.DeepEqual(t.rule, other.rule)
}

// Knows reports whether a rule or the panel uses a stream.
func (e *Engine) Knows(stream string) bool {
	return len(e.byStream[stream]) > 0 ||
		e.panel != nil && (stream == e.opt.Key || slices.Contains(e.opt.Ready, stream))
}

// Observe takes a reading, after it has done what is due before. It ignores readings of the
// panel's own stream: the engine has made these changes itself.
func (e *Engine) Observe(now time.Time, r sensors.Reading) {
	if !e.Knows(r.Stream) || e.panel != nil && r.Stream == arming.StreamName {
		return
	}
	e.Advance(now)
	w := wordOf(r)
	// Most readings repeat the state, and end here.
	before, known := e.latest[r.Stream]
	if known && w == before {
		return
	}
	e.latest[r.Stream] = w
	if known { // the first reading after a start is no change
		delete(e.stale, r.Stream)
	}
	if e.panel != nil {
		e.panel.Observe(now, r.Stream, r.Value, !w.failed)
	}
	e.evaluate(now, e.byStream[r.Stream])
	e.settle(now)
}

// Order does an order to the panel. The caller has checked its code.
func (e *Engine) Order(now time.Time, o arming.Order) arming.Answer {
	if e.panel == nil {
		return arming.Answer{Why: "there is no arming block"}
	}
	e.Advance(now)
	a := e.panel.Order(now, o)
	e.settle(now)
	return a
}

// Next returns when Advance has something to do; zero: never.
func (e *Engine) Next() time.Time { return e.next }

// Advance does everything that is due until now, in the order of its times. now must not be
// before that of an earlier call.
func (e *Engine) Advance(now time.Time) {
	for !e.next.IsZero() && !e.next.After(now) {
		// The panel comes first: if the exit delay ends at the time at which a rule is due, the
		// panel is armed for that rule.
		at := e.next
		if e.panel != nil {
			e.panel.Advance(at)
			e.settle(at)
		}
		for _, t := range e.triggers {
			if !t.due.IsZero() && !t.due.After(at) {
				t.due = time.Time{}
				e.fire(at, t)
			}
		}
		e.settle(at)
	}
}

// Take returns the effects since the last call, oldest first.
func (e *Engine) Take() []Effect {
	all := e.effects
	e.effects = nil
	return all
}

// TakeFired returns which rules have fired since the last call, oldest first.
func (e *Engine) TakeFired() []Fired {
	all := e.fired
	e.fired = nil
	return all
}

// evaluate finds the triggers that begin or cease to be met, and fires those without For
// that begin to be met.
func (e *Engine) evaluate(now time.Time, triggers []*trigger) {
	for _, t := range triggers {
		met := e.isMet(t)
		if met == t.met {
			continue
		}
		t.met, t.due = met, time.Time{} // before fire, which may call evaluate again
		switch {
		case !met:
		case t.rule.For > 0:
			t.due = now.Add(t.rule.For)
		default:
			e.fire(now, t)
		}
	}
}

// isMet reports whether all conditions of a trigger are met and its rule is active.
func (e *Engine) isMet(t *trigger) bool {
	if !e.isActive(t.rule) {
		return false
	}
	for _, c := range t.conditions {
		w, known := e.latest[c.Stream]
		if !known || w.failed && !t.rule.FaultTrips || !w.failed && w.is != c.Is || e.isIgnored(t.rule, c.Stream) {
			return false
		}
	}
	return true
}

// isActive reports whether the panel is in a state that the rule's Armed names.
func (e *Engine) isActive(r *Rule) bool {
	switch {
	case len(r.Armed) == 0:
		return true
	case e.panel == nil:
		return false
	case r.Armed[0] == Always:
		return true
	case r.Armed[0] == "disarmed":
		return e.panel.State() == arming.Disarmed
	}
	return slices.Contains(r.Armed, e.panel.Armed())
}

// isIgnored reports whether a rule for a mode ignores a stream: the stream is bypassed, or
// it is one of Follow and has not changed since the panel was armed.
func (e *Engine) isIgnored(r *Rule, stream string) bool {
	return r.Trips() && r.Armed[0] != Always && (e.panel.IsBypassed(stream) || e.stale[stream])
}

// fire runs the actions of a rule. If the rule trips the panel, the panel decides when its
// actions run.
func (e *Engine) fire(now time.Time, t *trigger) {
	fired := Fired{Rule: t.rule.Name}
	for _, c := range t.conditions {
		fired.Streams = append(fired.Streams, c.Stream)
	}
	e.fired = append(e.fired, fired)
	if !t.rule.Trips() {
		e.act(now, t.rule)
		return
	}
	trip := arming.Trip{Rule: t.rule.Name}
	if t.rule.Armed[0] != Always {
		trip.Follower = true
		for _, c := range t.conditions {
			trip.Delay = max(trip.Delay, e.opt.Entry[c.Stream])
			trip.Follower = trip.Follower && slices.Contains(e.opt.Follow, c.Stream)
		}
	}
	e.panel.Trip(now, trip)
	e.settle(now) // now, so that the siren does not wait for the other triggers
}

// act adds an order for each action of a rule.
func (e *Engine) act(now time.Time, r *Rule) {
	for _, a := range r.Then {
		e.order(now, outputs.Order{Output: a.Output, On: a.On, For: a.For, By: r.By()})
	}
}

func (e *Engine) order(now time.Time, o outputs.Order) {
	e.effects = append(e.effects, Effect{At: now, Order: &o})
}

// settle applies the panel's effects until there are none, and sets next. The loop ends:
// only rules that trip change the panel, each trigger fires once, and no rule that trips
// has a condition on the panel (package config rejects that).
func (e *Engine) settle(now time.Time) {
	for e.panel != nil {
		asks := e.panel.Take()
		armed := e.panel.Armed()
		if len(asks.Run)+len(asks.Silence)+len(asks.Changes)+len(asks.Refused) == 0 && armed == e.armed {
			break
		}
		e.perform(now, asks)
		// The panel was armed just now: the streams of Follow may still show the person who left.
		if armed != "" && armed != e.armed {
			for _, stream := range e.opt.Follow {
				e.stale[stream] = true
			}
		}
		e.armed = armed
		e.evaluate(now, e.triggers)
	}
	e.next = time.Time{}
	if e.panel != nil {
		e.next = e.panel.Next()
	}
	for _, t := range e.triggers {
		if !t.due.IsZero() && (e.next.IsZero() || t.due.Before(e.next)) {
			e.next = t.due
		}
	}
}

// perform applies the panel's effects, orders first, because the siren is urgent.
func (e *Engine) perform(now time.Time, asks arming.Effects) {
	for _, name := range asks.Run {
		i := slices.IndexFunc(e.rules, func(r Rule) bool { return r.Name == name })
		if i < 0 {
			e.effects = append(e.effects, Effect{At: now, Gone: name})
			continue
		}
		e.act(now, &e.rules[i])
		e.ran[name] = addActions(e.ran[name], e.rules[i].Then)
	}
	ordered := map[string]bool{} // by output: one order for each is enough
	for _, name := range asks.Silence {
		for _, a := range e.ran[name] {
			// An output that the rule set to its safe level needs no order.
			if a.On != a.Safe && !ordered[a.Output] {
				ordered[a.Output] = true
				e.order(now, outputs.Order{Output: a.Output, On: a.Safe, By: "arming"})
			}
		}
		delete(e.ran, name)
	}
	for _, c := range asks.Changes {
		e.effects = append(e.effects, Effect{At: c.At, Change: &c})
		e.latest[arming.StreamName] = word{is: c.State, value: arming.Value(c.State)}
	}
	for _, why := range asks.Refused {
		e.effects = append(e.effects, Effect{At: now, Refused: why})
	}
}

// addActions adds the actions that all does not have yet: a rule may run often in one alarm,
// and the list must not grow without limit.
func addActions(all, more []Action) []Action {
	for _, a := range more {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// Status returns the state of the panel; ok is false if there is no panel.
func (e *Engine) Status() (s arming.Status, ok bool) {
	if e.panel == nil {
		return s, false
	}
	return e.panel.Status(), true
}

// Saved returns what has to be on disk; ok is false if there is no panel.
func (e *Engine) Saved() (s arming.Saved, ok bool) {
	if e.panel == nil {
		return s, false
	}
	return e.panel.Saved(), true
}
