package outputs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// resumed is an order that is resumed after a fault.
func resumed(d time.Duration) Order {
	o := on("siren", d, "rule:x")
	o.Resume = true
	return o
}

// The alarm goes on while the line has a fault of 20 s: the siren sounds for what is left of its
// time, and no longer than it would have without the fault.
func TestFaultSuspendsOrderOfRule(t *testing.T) {
	for name, c := range map[string]struct {
		before, during *Order        // nil: none
		until          time.Duration // from the order, when the siren ends; 0: with the fault
	}{
		"refused in the fault":          {nil, new(resumed(40 * time.Second)), 42 * time.Second},
		"ended by the fault":            {new(resumed(40 * time.Second)), nil, 40 * time.Second},
		"without a time: max_on counts": {new(resumed(0)), nil, time.Minute},
		"its time is over":              {new(resumed(10 * time.Second)), nil, 0},
		"ordered off meanwhile":         {new(resumed(40 * time.Second)), new(off("siren", "arming")), 0},
		"an order that is not resumed":  {new(on("siren", 0, "order:1")), nil, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, spec("siren", nil))
			defer h.stop()
			began := time.Now()
			if c.before != nil {
				h.order(*c.before)
			}
			h.lines["siren"].with(func(l *fakeLine) { l.fails = errBus })
			time.Sleep(2 * time.Second)
			if c.during != nil {
				h.order(*c.during)
			}
			time.Sleep(18 * time.Second)
			h.lines["siren"].with(func(l *fakeLine) { l.fails = nil })
			time.Sleep(maxRetry + time.Second)
			want := time.Since(began) < c.until
			if h.lines["siren"].is() != want || h.Status()[0].Err != "" {
				t.Errorf("%s: after the fault %+v", name, h.Status()[0])
			}
			if want {
				time.Sleep(time.Until(began.Add(c.until - time.Millisecond)))
				if !h.lines["siren"].is() {
					t.Errorf("%s: ended early", name)
				}
			}
			time.Sleep(time.Second)
			if h.lines["siren"].is() {
				t.Errorf("%s: still on", name)
			}
			time.Sleep(time.Hour)
			if n := len(h.readingTexts("siren")); h.lines["siren"].is() || n > 6 {
				t.Errorf("%s: later %d readings", name, n)
			}
		})
	}
}

// A line that answers but does not switch on: each attempt makes two events, so the attempts
// become rare.
func TestLineThatDoesNotSwitchOnIsTriedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", func(s *Spec) { s.MaxOn = 0 }))
		defer h.stop()
		h.lines["siren"].with(func(l *fakeLine) { l.stuck = true })
		h.order(resumed(0))
		time.Sleep(time.Hour)
		if n := len(h.eventNames()); n < 6 || n > 30 {
			t.Errorf("%d events in an hour", n)
		}
		h.lines["siren"].with(func(l *fakeLine) { l.stuck = false })
		time.Sleep(2 * time.Hour)
		if !h.lines["siren"].is() {
			t.Error("the line works again, and the siren is silent")
		}
	})
}

// TestResumedOrdersKeepTheLimits plays random orders and faults: the siren is never on after an
// order to be off, nor for longer than MaxOn after the latest order.
func TestResumedOrdersKeepTheLimits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"on", "on", "off", "breaks", "works", "waits", "waits"}).Draw(t, "do")
		}), 1, 30).Draw(rt, "steps")
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = runFaults(t, steps) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// runFaults runs the steps, one in each 2.1 s, and returns what was wrong.
func runFaults(t *testing.T, steps []string) (wrong string) {
	h := newHouse(t, spec("siren", func(s *Spec) { s.MaxOn, s.Rest = 8500*time.Millisecond, 3250*time.Millisecond }))
	defer h.stop()
	line := h.lines["siren"]
	var ordered time.Time // when it was ordered on last; zero: ordered off since
	for i, step := range append(steps, "works") {
		switch step {
		case "on":
			ordered = time.Now()
			h.order(resumed(time.Duration(i%3) * 5 * time.Second))
		case "off":
			ordered = time.Time{}
			h.order(off("siren", "arming"))
		case "breaks":
			line.with(func(l *fakeLine) { l.fails = errBus })
		case "works":
			line.with(func(l *fakeLine) { l.fails = nil })
		}
		for range 21 {
			time.Sleep(100 * time.Millisecond)
			isBroken := false
			line.with(func(l *fakeLine) { isBroken = l.fails != nil })
			late := ordered.IsZero() || time.Since(ordered) > 8600*time.Millisecond
			if !isBroken && h.Status()[0].Err == "" && line.is() && late {
				return fmt.Sprintf("step %d: on, %v after the order\n%s", i, time.Since(ordered),
					strings.Join(h.readingTexts("siren"), "\n"))
			}
		}
	}
	time.Sleep(time.Minute)
	if s := h.Status()[0]; s.On || line.is() || s.Err != "" {
		return fmt.Sprintf("at the end %+v", s)
	}
	return ""
}
