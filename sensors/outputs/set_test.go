package outputs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A fakeLine is a line that can fail, hang and return a wrong level.
type fakeLine struct {
	mu       sync.Mutex
	on       bool
	stuck    bool          // Set has no effect, and Get shows it
	fails    error         // error of each call
	failOnce int           // this call fails: 1 is the next one
	slow     time.Duration // each call takes so long
	hangs    chan struct{} // each call waits until it is closed; nil: no call waits
	dumb     bool          // it cannot be read back
	sets     []string      // the calls: "on", "off", "open", "close"
	opens    int
	isOpen   bool
}

// call waits if the line hangs, and returns the error if it fails.
func (l *fakeLine) call() error {
	l.mu.Lock()
	hangs, fails, slow := l.hangs, l.fails, l.slow
	if l.failOnce--; l.failOnce == 0 {
		fails = errBus
	}
	l.mu.Unlock()
	time.Sleep(slow)
	if hangs != nil {
		<-hangs
	}
	return fails
}

func (l *fakeLine) Set(_ context.Context, on bool) error {
	if err := l.call(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sets = append(l.sets, word(on))
	if !l.stuck {
		l.on = on
	}
	return nil
}

func (l *fakeLine) Get(context.Context) (bool, error) {
	if err := l.call(); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dumb {
		return false, ErrNoReadBack
	}
	return l.on, nil
}

func (l *fakeLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sets, l.isOpen = append(l.sets, "close"), false
	return nil
}

// is returns the level of the line.
func (l *fakeLine) is() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}

// with changes the line.
func (l *fakeLine) with(change func(l *fakeLine)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// A house is a set of outputs on fake lines, with all its reports.
type house struct {
	t testing.TB
	*Set
	lines map[string]*fakeLine
	end   context.CancelFunc
	ctx   context.Context

	mu       sync.Mutex
	readings []sensors.Reading
	events   []sensors.Event
	log      bytes.Buffer
	record   func(sensors.Reading) // before it is kept
}

// spec returns an output with only a name and a bound.
func spec(name string, change func(*Spec)) Spec {
	s := Spec{MaxOn: time.Minute, Line: name, Stream: sensors.Stream{Name: name, Priority: sensors.Alarm,
		Quantity: sensors.Quantity{Name: "output", States: []string{"off", "on"}}}}
	if change != nil {
		change(&s)
	}
	return s
}

// newHouse runs outputs. The test must call stop.
func newHouse(t testing.TB, specs ...Spec) *house {
	h := &house{t: t, lines: map[string]*fakeLine{}}
	for _, s := range specs {
		h.lines[s.Stream.Name] = &fakeLine{}
	}
	h.Set = NewSet(Wiring{
		Open: h.open, Clock: clock.NewTimekeeper(clock.TrustAlways),
		Log:     slog.New(slog.NewTextHandler(&h.log, nil)),
		Observe: func(sensors.Reading) {},
		Record: func(r sensors.Reading) {
			if h.record != nil {
				h.record(r)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.readings = append(h.readings, r)
		},
		Report: func(e sensors.Event) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, e)
		},
	})
	h.ctx, h.end = context.WithCancel(context.Background())
	h.change(specs...)
	return h
}

func (h *house) change(specs ...Spec) {
	h.Change(h.ctx, specs, func([]Spec) {})
	synctest.Wait()
}

// open opens the line at its safe level.
func (h *house) open(_ context.Context, s Spec) (Line, error) {
	l := h.lines[s.Stream.Name]
	if err := l.call(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isOpen {
		return nil, errors.New("the line is busy")
	}
	l.sets, l.isOpen, l.opens = append(l.sets, "open"), true, l.opens+1
	if !l.stuck {
		l.on = s.Safe
	}
	return l, nil
}

// stop ends the outputs.
func (h *house) stop() {
	h.end()
	h.Wait()
}

// order sends an order and returns why it was refused, or "done".
func (h *house) order(o Order) string {
	h.t.Helper()
	got := make(chan Answer, 2)
	o.Answer = func(a Answer) { got <- a }
	h.Do(o)
	synctest.Wait()
	select {
	case a := <-got:
		if a.Done != (a.Why == "") {
			h.t.Errorf("answer %+v", a)
		}
		if a.Done {
			return "done"
		}
		return a.Why
	default:
		return "no answer"
	}
}

// readingTexts returns the readings of an output as texts: "on by rule:x for 3m0s", "null: why". It
// checks their numbers and their priority.
func (h *house) readingTexts(name string) (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seq := uint64(0)
	for _, r := range h.readings {
		if r.Stream != name {
			continue
		}
		if seq++; r.Seq != seq || r.Priority != sensors.Alarm {
			h.t.Errorf("reading %+v, want number %d and an alarm", r, seq)
		}
		text := r.State + " by " + r.By
		if r.Err != "" {
			text = "null: " + r.Err
		}
		if r.For > 0 {
			text += " for " + clock.FormatDuration(r.For)
		}
		all = append(all, text)
	}
	return all
}

func (h *house) eventNames() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		all = append(all, e.Name)
	}
	return all
}

func (h *house) want(name string, want ...string) {
	h.t.Helper()
	if got := h.readingTexts(name); !slices.Equal(got, want) {
		h.t.Errorf("%s said\n\t%s\nwant\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// on returns an order to an output.
func on(name string, d time.Duration, by string) Order {
	return Order{Output: name, On: true, For: d, By: by}
}

func off(name, by string) Order { return Order{Output: name, By: by} }

func TestOutputSwitchesOffAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		if got := h.order(on("siren", 10*time.Second, "rule:intruder")); got != "done" {
			t.Error(got)
		}
		time.Sleep(10*time.Second - time.Millisecond)
		if !h.lines["siren"].is() {
			t.Error("off before its time")
		}
		time.Sleep(2 * time.Millisecond)
		if h.lines["siren"].is() {
			t.Error("on after its time")
		}
		h.stop()
		h.want("siren", "off by start", "on by rule:intruder for 10s", "off by timer")
		if got := h.lines["siren"].sets; !slices.Equal(got, []string{"open", "on", "off", "off", "close"}) {
			t.Error(got)
		}
	})
}

func TestMaxOnIsNeverExtended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", func(s *Spec) { s.MaxOn, s.Rest = 3*time.Minute, time.Minute }))
		defer h.stop()
		start := time.Now()
		for h.order(on("siren", 0, "rule:x")); h.lines["siren"].is(); h.order(on("siren", time.Hour, "order:y")) {
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("off after %v", took)
		}
		if got := h.order(on("siren", 0, "rule:x")); !strings.HasPrefix(got, "rest: ") {
			t.Errorf("at rest: %s", got)
		}
		time.Sleep(time.Minute)
		if got := h.order(on("siren", 0, "rule:x")); got != "done" {
			t.Errorf("after the rest: %s", got)
		}
		h.want("siren", "off by start", "on by rule:x for 3m", "off by max_on", "on by rule:x for 3m")
	})
}

// A chime must not end the siren early, but a user may.
func TestLatestEndTimeWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		defer h.stop()
		h.order(on("siren", 30*time.Second, "rule:intruder"))
		time.Sleep(time.Second)
		h.order(on("siren", 2*time.Second, "rule:chime"))
		time.Sleep(4 * time.Second)
		if !h.lines["siren"].is() {
			t.Error("a short order has ended a long one")
		}
		h.order(on("siren", 40*time.Second, "order:a"))
		time.Sleep(26 * time.Second)
		if !h.lines["siren"].is() {
			t.Error("the longer order did not count")
		}
		h.order(off("siren", "order:b"))
		if h.lines["siren"].is() {
			t.Error("on after an order to be off")
		}
		h.want("siren", "off by start", "on by rule:intruder for 30s", "on by order:a for 40s", "off by order:b")
	})
}

// An output whose safe level is on, such as a fail-secure lock, is bounded while it is off.
func TestFailSecureLockOpensForALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("lock", func(s *Spec) { s.Safe, s.MaxOn = true, 10*time.Second }))
		if !h.lines["lock"].is() {
			t.Error("not locked at the start")
		}
		h.order(off("lock", "card"))
		time.Sleep(11 * time.Second)
		h.stop()
		h.want("lock", "on by start", "off by card for 10s", "on by max_on")
	})
}

func TestOutputsAreSafeAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		h.order(on("siren", 0, "rule:x"))
		start := time.Now()
		h.stop()
		if h.lines["siren"].is() || h.lines["siren"].isOpen {
			t.Error("not off, or not closed")
		}
		if took := time.Since(start); took != settleTime {
			t.Errorf("it took %v", took)
		}
		h.want("siren", "off by start", "on by rule:x for 1m", "off by stop")
		if got := h.order(on("siren", 0, "late")); got != "stopped" {
			t.Errorf("an order after the end: %s", got)
		}
	})
}

func TestAReloadKeepsWhatDidNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil), spec("pump", nil), spec("lamp", nil))
		defer h.stop()
		for _, name := range []string{"siren", "pump", "lamp"} {
			h.order(on(name, 0, "rule:x"))
		}
		time.Sleep(20 * time.Second)
		h.change(spec("siren", nil), spec("pump", func(s *Spec) { s.MaxOn = 2 * time.Minute }))
		if !h.lines["siren"].is() || h.lines["siren"].opens != 1 {
			t.Error("an output that did not change was touched")
		}
		if h.lines["pump"].is() || h.lines["pump"].opens != 2 || h.lines["lamp"].is() || h.lines["lamp"].isOpen {
			t.Error("one that changed or is gone is not safe")
		}
		time.Sleep(40*time.Second - settleTime + time.Millisecond)
		if h.lines["siren"].is() {
			t.Error("the reload has changed the timer of an output")
		}
		if got := h.order(on("lamp", 0, "x")); got != "unknown output" {
			t.Error(got)
		}
		h.want("siren", "off by start", "on by rule:x for 1m", "off by max_on")
		h.want("pump", "off by start", "on by rule:x for 1m", "off by stop", "off by start")
		h.want("lamp", "off by start", "on by rule:x for 1m", "off by stop")
	})
}

func TestPulseHasItsLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("gate", func(s *Spec) { s.Pulse = 500 * time.Millisecond }))
		defer h.stop()
		h.order(on("gate", time.Hour, "a"))
		time.Sleep(400 * time.Millisecond)
		if got := h.order(on("gate", 0, "b")); got != "done" {
			t.Error(got)
		}
		time.Sleep(101 * time.Millisecond)
		if h.lines["gate"].is() {
			t.Error("a second order has made the pulse longer")
		}
		h.want("gate", "off by start", "on by a for 500ms", "off by timer")
	})
}

func TestInterlockAllowsOneOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("open", func(s *Spec) { s.Interlock = []string{"close"} }), spec("close", nil))
		defer h.stop()
		h.order(on("open", 0, "a"))
		if got := h.order(on("close", 0, "b")); got != "interlock: open is on" {
			t.Error(got)
		}
		h.order(off("open", "a"))
		if got := h.order(on("close", 0, "b")); got != "done" {
			t.Error(got)
		}
		h.lines["close"].with(func(l *fakeLine) { l.fails = errors.New("no acknowledge") })
		h.order(off("close", "b"))
		if got := h.order(on("open", 0, "a")); got != "interlock: close is not known to be off" {
			t.Error(got)
		}
	})
}

// Orders by MQTT end with the link; orders of a rule continue.
func TestLostLinkEndsItsOrders(t *testing.T) {
	lost := func(s *Spec) { s.MaxOn, s.LinkLost = time.Hour, &LinkLost{After: time.Minute} }
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("pump", lost), spec("fan", lost), spec("lamp", lost))
		defer h.stop()
		h.LinkChanged(true)
		remote := func(name string, d time.Duration) Order {
			return Order{Output: name, On: true, For: d, By: "order:r", Remote: true}
		}
		h.order(remote("pump", 0))
		h.order(remote("fan", 0))
		h.order(on("fan", 30*time.Minute, "rule:x"))
		h.order(on("lamp", 30*time.Minute, "rule:x"))
		time.Sleep(time.Minute)
		h.LinkChanged(false)
		h.LinkChanged(false)
		time.Sleep(time.Minute - time.Millisecond)
		if !h.lines["pump"].is() {
			t.Error("off before the time")
		}
		time.Sleep(2 * time.Millisecond)
		if h.lines["pump"].is() || !h.lines["fan"].is() || !h.lines["lamp"].is() {
			t.Error("the wrong outputs are off")
		}
		h.want("pump", "off by start", "on by order:r for 1h", "off by link_lost")
		h.want("fan", "off by start", "on by order:r for 1h", "on by link_lost for 28m")
		h.want("lamp", "off by start", "on by rule:x for 30m")
	})
}

// remoteOn returns an order by MQTT.
func remoteOn(name string) Order { return Order{Output: name, On: true, By: "order:r", Remote: true} }

// If link_lost leaves an output on, its max_on neither restarts nor ends, even if an interlock would
// refuse to switch it on again.
func TestOutputStaysOnWithinItsBoundsIfTheLinkIsLost(t *testing.T) {
	for name, faulty := range map[string]bool{"alone": false, "beside an output in fault": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, spec("lamp", func(s *Spec) {
					s.MaxOn, s.LinkLost, s.Interlock = 5*time.Minute, &LinkLost{After: time.Minute, Then: true}, []string{"pump"}
				}), spec("pump", nil))
				defer h.stop()
				h.LinkChanged(true)
				h.order(remoteOn("lamp"))
				if faulty {
					h.lines["pump"].with(func(l *fakeLine) { l.fails = errBus })
					h.order(on("pump", 0, "x"))
				}
				h.LinkChanged(false)
				time.Sleep(5*time.Minute - time.Millisecond)
				if !h.lines["lamp"].is() {
					t.Error("off before max_on")
				}
				time.Sleep(2 * time.Millisecond)
				if h.lines["lamp"].is() {
					t.Error("on after max_on")
				}
				h.want("lamp", "off by start", "on by order:r for 5m", "on by link_lost for 4m", "off by max_on")
			})
		})
	}
}

// An order to the safe level ends an output that link_lost keeps on.
func TestOrderEndsAnOutputThatALostLinkKeptOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("lamp", func(s *Spec) {
			s.MaxOn, s.LinkLost, s.Interlock = 0, &LinkLost{After: time.Minute, Then: true}, []string{"pump"}
		}), spec("pump", nil))
		defer h.stop()
		h.LinkChanged(true)
		h.order(remoteOn("lamp"))
		h.lines["pump"].with(func(l *fakeLine) { l.fails = errBus })
		h.order(on("pump", 0, "x"))
		h.LinkChanged(false)
		time.Sleep(time.Hour)
		if !h.lines["lamp"].is() {
			t.Error("link_lost does not keep it on")
		}
		if got := h.order(off("lamp", "x")); got != "done" || h.lines["lamp"].is() {
			t.Errorf("%s, and on is %v", got, h.lines["lamp"].is())
		}
	})
}

// TestEveryOrderIsAnswered: exactly once.
func TestEveryOrderIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		hang := make(chan struct{})
		h.lines["siren"].with(func(l *fakeLine) { l.hangs = hang })
		var mu sync.Mutex
		answers := map[int][]string{}
		const n = 3 * maxOrders
		for i := range n {
			h.Do(Order{Output: "siren", On: i%50 != 49, By: fmt.Sprint(i), Answer: func(a Answer) {
				mu.Lock()
				defer mu.Unlock()
				answers[i] = append(answers[i], a.Why)
			}})
		}
		time.Sleep(time.Minute)
		close(hang)
		h.stop()
		synctest.Wait() // for a call that was left behind
		for i := range n {
			if len(answers[i]) != 1 {
				t.Errorf("order %d is answered %q", i, answers[i])
			}
		}
		if h.lines["siren"].is() {
			t.Error("not safe at the end")
		}
	})
}
