package outputs

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// histories is the number of random histories; build/prove uses more.
func histories() int {
	if os.Getenv("HOLDFAST_PROVE") != "" {
		return 10_000
	}
	return 500
}

// A step is one event, after some whole seconds without one.
type step struct {
	after  int    // seconds
	do     string // "order", "down", "up", "reload" or "breaks"
	output int
	on     bool
	time   int // seconds of the order; 0: none given
	remote bool
}

func (s step) String() string {
	if s.do != "order" {
		return fmt.Sprintf("%ds: %s %d", s.after, s.do, s.output)
	}
	return fmt.Sprintf("%ds: output %d on=%v for %ds remote=%v", s.after, s.output, s.on, s.time, s.remote)
}

// drawStep draws a random step.
func drawStep(t *rapid.T) step {
	kinds := []string{"order", "order", "order", "order", "order", "order", "down", "up", "reload", "breaks"}
	return step{
		after: rapid.IntRange(0, 6).Draw(t, "after"), do: rapid.SampledFrom(kinds).Draw(t, "do"),
		output: rapid.IntRange(0, 6).Draw(t, "output"), on: rapid.IntRange(0, 3).Draw(t, "on") > 0,
		time: rapid.IntRange(0, 12).Draw(t, "time"), remote: rapid.Bool().Draw(t, "remote"),
	}
}

// modelSpecs are outputs with all bounds. Steps happen at whole seconds and bounds are not whole
// seconds, so that no two events have the same time.
func modelSpecs() []Spec {
	lost := func(then bool) *LinkLost { return &LinkLost{After: 4125 * time.Millisecond, Then: then} }
	return []Spec{
		spec("siren", func(s *Spec) { s.MaxOn, s.Rest = 8500*time.Millisecond, 3250*time.Millisecond }),
		spec("gate", func(s *Spec) {
			s.Pulse, s.MaxOn, s.Interlock = 2625*time.Millisecond, 5*time.Second, []string{"pump"}
		}),
		spec("lock", func(s *Spec) { s.Safe, s.MaxOn, s.LinkLost = true, 9500*time.Millisecond, lost(true) }),
		spec("pump", func(s *Spec) { s.MaxOn, s.LinkLost = 20500*time.Millisecond, lost(false) }),
		spec("lamp", func(s *Spec) { s.MaxOn = 0 }),
		spec("fan", func(s *Spec) {
			s.MaxOn, s.Rest, s.LinkLost = 6375*time.Millisecond, 2312*time.Millisecond, lost(true)
		}),
		spec("bell", func(s *Spec) {
			s.Pulse, s.LinkLost = 2625*time.Millisecond, &LinkLost{After: 1125 * time.Millisecond, Then: true}
		}),
	}
}

// modelOutput is the model of an output: its orders and their end times.
type modelOutput struct {
	spec   Spec
	away   bool
	left   time.Time
	rest   time.Time
	orders []modelOrder // in force
	remote bool         // the latest order came by MQTT
	broken time.Time    // until then its line fails
}

type modelOrder struct {
	remote bool
	end    time.Time // zero: none
}

// modelHouse is the model of all outputs.
type modelHouse struct {
	outputs []*modelOutput
	down    time.Time
}

// next returns the first timed event until a time; "" if there is none.
func (o *modelOutput) next(now, down time.Time) (what string, at time.Time) {
	longest, endless, remote := time.Time{}, false, false
	for _, order := range o.orders {
		endless = endless || order.end.IsZero()
		remote = remote || order.remote
		longest = later(longest, order.end)
	}
	at = now.Add(time.Nanosecond)
	note := func(name string, when time.Time) {
		if when.Before(at) {
			what, at = name, when
		}
	}
	if o.away && !endless {
		note("timer", longest)
	}
	if o.away && o.spec.MaxOn > 0 {
		note("max", o.left.Add(o.spec.MaxOn))
	}
	lost := o.spec.LinkLost
	if lost != nil && !down.IsZero() && (remote || o.remote && lost.Then != o.spec.Safe) {
		note("lost", down.Add(lost.After))
	}
	return what, at
}

// advance executes the timed events until a time, in order.
func (o *modelOutput) advance(now, down time.Time) {
	for {
		switch what, at := o.next(now, down); what {
		case "":
			return
		case "lost":
			o.loseLink(at)
		case "max":
			o.rest, o.away, o.orders = at.Add(o.spec.Rest), false, nil
		case "timer":
			o.away, o.orders = false, nil
		}
	}
}

// loseLink applies link_lost. In the model, no output with an interlock leaves its safe level then.
func (o *modelOutput) loseLink(at time.Time) {
	o.remote = false
	if o.spec.LinkLost.Then == o.spec.Safe {
		o.orders = slices.DeleteFunc(o.orders, func(order modelOrder) bool { return order.remote })
		o.away = len(o.orders) > 0
		return
	}
	for i := range o.orders {
		o.orders[i].remote = false
	}
	if !o.away && (at.Before(o.rest) || at.Before(o.broken)) {
		return
	}
	kept := modelOrder{}
	switch {
	case o.spec.Pulse > 0 && o.away:
		return
	case o.spec.Pulse > 0:
		kept.end = at.Add(o.spec.Pulse)
	}
	if !o.away {
		o.away, o.left = true, at
	}
	o.orders = append(o.orders, kept)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// order applies an order to the model.
func (h *modelHouse) order(s step, now time.Time) (refused bool) {
	o := h.outputs[s.output]
	if s.on == o.spec.Safe {
		o.away, o.orders, o.remote = false, nil, s.remote
		return false
	}
	if now.Before(o.rest) {
		return true
	}
	if !o.away {
		for _, other := range h.outputs {
			apart := o.spec.Stream.Name == "gate" && other.spec.Stream.Name == "pump" ||
				o.spec.Stream.Name == "pump" && other.spec.Stream.Name == "gate"
			if apart && other.away {
				return true
			}
		}
		o.away, o.left, o.remote = true, now, s.remote
	} else if o.remote = s.remote; o.spec.Pulse > 0 {
		return false
	}
	added := modelOrder{remote: s.remote}
	if d := o.spec.Pulse; d > 0 {
		added.end = now.Add(d)
	} else if s.time > 0 {
		added.end = now.Add(orderTime(s))
	}
	o.orders = append(o.orders, added)
	return false
}

// orderTime is not a whole second: see modelSpecs.
func orderTime(s step) time.Duration { return time.Duration(s.time)*time.Second + 250*time.Millisecond }

// TestOutputsMatchAModel uses random orders, line failures, link failures and reloads, and compares
// every level and every answer with the model.
func TestOutputsMatchAModel(t *testing.T) {
	for range histories() / 100 {
		rapid.Check(t, func(rt *rapid.T) {
			steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 40).Draw(rt, "steps")
			var wrong string
			synctest.Test(t, func(t *testing.T) { wrong = compareWithModel(t, steps) })
			if wrong != "" {
				rt.Fatal(wrong)
			}
		})
	}
}

// compareWithModel runs a history, and returns the first difference between an output and the model.
func compareWithModel(t *testing.T, steps []step) (wrong string) {
	specs, model := modelSpecs(), &modelHouse{}
	for _, s := range specs {
		model.outputs = append(model.outputs, &modelOutput{spec: s})
	}
	h := newHouse(t, specs...)
	defer h.stop()
	h.LinkChanged(true)
	for i, s := range steps {
		time.Sleep(time.Duration(s.after) * time.Second)
		synctest.Wait()
		for _, o := range model.outputs {
			o.advance(time.Now(), model.down)
		}
		if refused, want := h.step(model, s); refused != want {
			return fmt.Sprintf("step %d, %v: refused %v, want %v\n%s", i, s, refused, want, &h.log)
		}
		for _, o := range model.outputs {
			name := o.spec.Stream.Name
			if want := o.away != o.spec.Safe; h.lines[name].is() != want {
				return fmt.Sprintf("step %d, %v: %s is %v, want %v\n%s", i, s, name, !want, want, &h.log)
			}
		}
	}
	return ""
}

// step executes a step in the set and in the model.
func (h *house) step(model *modelHouse, s step) (refused, want bool) {
	o := model.outputs[s.output]
	name, now := o.spec.Stream.Name, time.Now()
	switch s.do {
	case "order":
		if s.remote && !model.down.IsZero() {
			return false, false // none comes
		}
		order := Order{Output: name, On: s.on, By: "x", Remote: s.remote}
		if s.time > 0 {
			order.For = orderTime(s)
		}
		want = model.order(s, now)
		refused = h.order(order) != "done"
	case "down", "up":
		h.LinkChanged(s.do == "up")
		switch {
		case s.do == "up":
			model.down = time.Time{}
		case model.down.IsZero():
			model.down = now
		}
	case "reload": // one of them changes
		specs := make([]Spec, len(model.outputs))
		o.spec.Commands = !o.spec.Commands
		o.away, o.orders, o.rest, o.remote = false, nil, time.Time{}, false
		for i, each := range model.outputs {
			specs[i] = each.spec
		}
		h.change(specs...)
		time.Sleep(time.Until(now.Add(time.Second))) // it took 20 ms, or nothing
	case "breaks": // detected within a minute, and at its safe level soon after the line works
		o.away, o.orders, o.broken = false, nil, now.Add(checkIdle+time.Second)
		h.lines[name].with(func(l *fakeLine) { l.fails = errBus })
		time.Sleep(checkIdle + time.Second)
		h.lines[name].with(func(l *fakeLine) { l.fails = nil })
		time.Sleep(maxRetry + time.Second)
	}
	synctest.Wait()
	for _, each := range model.outputs {
		each.advance(time.Now(), model.down)
	}
	return refused, want
}
