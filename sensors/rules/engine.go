package rules

import (
	"reflect"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// An Engine is the rules and the panel that they ask. Readings, orders and times go in,
// and effects come out of [Engine.Take]. It reads no clock and waits for nothing: the agent
// and `holdfast rules test` use the same one. It belongs to one goroutine at a time.
//
// # When a rule fires
//
// A rule fires when it begins to be met: its streams say its words, for as long as For
// asks, and it looks (Armed). Then its actions run, once. It fires again only after it was
// not met. Each condition of Any is a cause of its own: a second door that is opened while
// the first stands open fires again.
//
// Before the first reading of a stream no condition on it is met; so the first reading
// may fire. An action that has begun keeps its time when the rule is not met any more.
type Engine struct {
	rules    []Rule
	triggers []*trigger
	byStream map[string][]*trigger
	latest   map[string]word // by stream that a rule or the panel knows
	next     time.Time       // when Advance has something to do; zero: never
	effects  []Effect        // since the last Take
	fired    []Fired         // since the last TakeFired

	panel *arming.Panel // nil: there is none
	opt   arming.Options
	armed string              // the mode in force when triggers were judged last
	stale map[string]bool     // followers that have not changed since the panel was armed
	ran   map[string][]Action // by rule that tripped, what it ordered since disarming; a reload does not change it
}

// A word is what a stream said last.
type word struct {
	is     string
	value  float64
	failed bool
}

// A trigger is what has to be met at the same time: all conditions of All, or one of Any.
type trigger struct {
	rule       *Rule
	conditions []Condition
	met        bool
	due        time.Time // when it fires if it stays met; zero: it has, or it is not met
}

// An Effect is one of an order to an output, a change of the panel, what the key switch was
// refused, and a rule that is gone.
type Effect struct {
	At      time.Time
	Order   *outputs.Order
	Change  *arming.Change
	Refused string // why
	Gone    string // a rule whose actions were due, and that a reload or a new file has removed
}

// Fired says that a rule has fired, and for which streams: all of All, or one.
type Fired struct {
	Rule    string
	Streams []string
}

// NewEngine returns rules of which nothing is known yet. The panel, nil if there is none,
// belongs to the engine from now on.
func NewEngine(rules []Rule, panel *arming.Panel, opt arming.Options, now time.Time) *Engine {
	e := &Engine{latest: map[string]word{}, stale: map[string]bool{}, ran: map[string][]Action{}, panel: panel, opt: opt}
	e.Change(rules, panel, opt, nil, now)
	return e
}

// Change makes other rules those of the engine, and another panel if there was none. A rule
// that is the same as before goes on as it is, with the time that runs. Another begins
// anew, as at the start of the agent, with what its streams said last: where that meets it,
// it fires. known are the latest readings of streams that no rule has looked at so far.
func (e *Engine) Change(
	rules []Rule, panel *arming.Panel, opt arming.Options, known []sensors.Reading, now time.Time,
) {
	// A rule is the same if all of it is: a longer For must not end at the old time.
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
	e.learn(known, now)
	e.judge(now, e.triggers)
	e.settle(now)
}

// learn keeps what is known of the streams that count from now on, and tells the panel.
func (e *Engine) learn(known []sensors.Reading, now time.Time) {
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

// wordOf is what a reading says.
func wordOf(r sensors.Reading) word {
	if r.Err != "" {
		return word{failed: true}
	}
	return word{is: r.State, value: r.Value}
}

// triggersOf are the triggers of a rule, not met.
func triggersOf(r *Rule) (all []*trigger) {
	if len(r.All) > 0 {
		return []*trigger{{rule: r, conditions: r.All}}
	}
	for i := range r.Any {
		all = append(all, &trigger{rule: r, conditions: r.Any[i : i+1]})
	}
	return all
}

// isLike reports whether another trigger is the same one of a rule that is the same.
func (t *trigger) isLike(other *trigger) bool {
	return reflect.DeepEqual(t.conditions, other.conditions) && reflect.DeepEqual(t.rule, other.rule)
}

// Knows reports whether a rule or the panel looks at a stream.
func (e *Engine) Knows(stream string) bool {
	return len(e.byStream[stream]) > 0 ||
		e.panel != nil && (stream == e.opt.Key || slices.Contains(e.opt.Ready, stream))
}

// Observe takes a reading. What is due before it comes first. The readings of the panel's
// own stream are left out: the engine knows of the change already.
func (e *Engine) Observe(now time.Time, r sensors.Reading) {
	if !e.Knows(r.Stream) || e.panel != nil && r.Stream == arming.StreamName {
		return
	}
	e.Advance(now)
	w := wordOf(r)
	// A heartbeat says nothing new: most readings end here.
	before, known := e.latest[r.Stream]
	if known && w == before {
		return
	}
	e.latest[r.Stream] = w
	if known { // the first reading after a start is where a follower begins
		delete(e.stale, r.Stream)
	}
	if e.panel != nil {
		e.panel.Observe(now, r.Stream, r.Value, !w.failed)
	}
	e.judge(now, e.byStream[r.Stream])
	e.settle(now)
}

// Order does what somebody orders of the panel, whose code was accepted.
func (e *Engine) Order(now time.Time, o arming.Order) arming.Answer {
	if e.panel == nil {
		return arming.Answer{Why: "there is no arming block"}
	}
	e.Advance(now)
	a := e.panel.Order(now, o)
	e.settle(now)
	return a
}

// Next is when Advance has something to do; zero: never.
func (e *Engine) Next() time.Time { return e.next }

// Advance does what is due at now, in the order in which it is due. now is never before
// that of an earlier call.
func (e *Engine) Advance(now time.Time) {
	for !e.next.IsZero() && !e.next.After(now) {
		// The panel before the triggers: a rule that is due when the exit delay ends is armed.
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

// judge looks which triggers begin or cease to be met.
func (e *Engine) judge(now time.Time, triggers []*trigger) {
	for _, t := range triggers {
		met := e.isMet(t)
		if met == t.met {
			continue
		}
		t.met, t.due = met, time.Time{} // before it fires: firing comes back here
		switch {
		case !met:
		case t.rule.For > 0:
			t.due = now.Add(t.rule.For)
		default:
			e.fire(now, t)
		}
	}
}

// isMet reports whether a trigger is met, whether its rule looks included.
func (e *Engine) isMet(t *trigger) bool {
	if !e.looks(t.rule) {
		return false
	}
	for _, c := range t.conditions {
		w, known := e.latest[c.Stream]
		if !known || w.failed && !t.rule.FaultTrips || !w.failed && w.is != c.Is || e.isLeftOut(t.rule, c.Stream) {
			return false
		}
	}
	return true
}

// looks reports whether the panel is as the rule wants it.
func (e *Engine) looks(r *Rule) bool {
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

// isLeftOut reports whether a rule for a mode does not see a stream: it is bypassed, or it
// is a follower that still says what it said on the way out.
func (e *Engine) isLeftOut(r *Rule, stream string) bool {
	return r.Trips() && r.Armed[0] != Always && (e.panel.IsBypassed(stream) || e.stale[stream])
}

// fire runs the actions of a rule, or tells the panel that has to decide.
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
	e.settle(now) // the siren does not wait for the other triggers
}

// act orders the actions of a rule.
func (e *Engine) act(now time.Time, r *Rule) {
	for _, a := range r.Then {
		e.order(now, outputs.Order{Output: a.Output, On: a.On, For: a.For, By: r.By()})
	}
}

func (e *Engine) order(now time.Time, o outputs.Order) {
	e.effects = append(e.effects, Effect{At: now, Order: &o})
}

// settle does what the panel asks for, until it asks for nothing, and looks when something
// is due next. It ends: only rules that trip change the panel, each trigger fires once, and
// no rule that trips watches the panel (package config refuses that).
func (e *Engine) settle(now time.Time) {
	for e.panel != nil {
		asks := e.panel.Take()
		armed := e.panel.Armed()
		if len(asks.Run)+len(asks.Silence)+len(asks.Changes)+len(asks.Refused) == 0 && armed == e.armed {
			break
		}
		e.perform(now, asks)
		// Armed anew: what followers say from the way out is not news.
		if armed != "" && armed != e.armed {
			for _, stream := range e.opt.Follow {
				e.stale[stream] = true
			}
		}
		e.armed = armed
		e.judge(now, e.triggers)
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

// perform does what the panel asks for: orders first, because a siren waits.
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
	told := map[string]bool{} // outputs: one order each is enough
	for _, name := range asks.Silence {
		for _, a := range e.ran[name] {
			// What a rule left at its safe level stays as it is.
			if a.On != a.Safe && !told[a.Output] {
				told[a.Output] = true
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

// addActions adds the actions that are not in a list yet: a rule may run often in one alarm.
func addActions(all, more []Action) []Action {
	for _, a := range more {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// Status is the panel for a person; ok is false if there is none.
func (e *Engine) Status() (s arming.Status, ok bool) {
	if e.panel == nil {
		return s, false
	}
	return e.panel.Status(), true
}

// Saved is what has to be on disk; ok is false if there is no panel.
func (e *Engine) Saved() (s arming.Saved, ok bool) {
	if e.panel == nil {
		return s, false
	}
	return e.panel.Saved(), true
}
