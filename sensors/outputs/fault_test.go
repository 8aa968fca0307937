package outputs

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

var errBus = errors.New("i2c-1 0x20: no acknowledge")

func TestFailedLineIsMadeSafeWhenItAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		h.order(on("siren", 0, "rule:x"))
		time.Sleep(time.Second / 2)
		h.lines["siren"].with(func(l *fakeLine) { l.fails = errBus })
		time.Sleep(20 * time.Second)
		if got := h.order(on("siren", 0, "rule:x")); got != "fault: "+errBus.Error() {
			t.Error(got)
		}
		h.lines["siren"].with(func(l *fakeLine) { l.fails = nil })
		time.Sleep(maxRetry + time.Second)
		if h.lines["siren"].is() {
			t.Error("not safe")
		}
		if s := h.Status()[0]; s.Err != "" || s.On || s.By != ByFault {
			t.Errorf("%+v", s)
		}
		h.stop()
		h.want("siren", "off by start", "on by rule:x for 1m", "null: "+errBus.Error(), "off by fault")
		if got := h.eventNames(); !slices.Equal(got, []string{"output_fault", "recovered"}) {
			t.Error(got)
		}
	})
}

// A relay that switches can disturb its own bus: one failed transfer is retried.
func TestOneTransferThatFailsIsTriedAgain(t *testing.T) {
	for calls := range 2 { // of a Set and of the Get after it
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, spec("siren", func(s *Spec) { s.MaxOn = 0 }))
			h.lines["siren"].with(func(l *fakeLine) { l.failOnce = calls + 1 })
			h.Do(on("siren", 0, "x"))
			time.Sleep(time.Second / 2)
			if !h.lines["siren"].is() {
				t.Errorf("call %d fails, and the siren is off", calls)
			}
			h.lines["siren"].with(func(l *fakeLine) { l.failOnce = 1 })
			time.Sleep(10 * time.Second)
			h.stop()
			h.want("siren", "off by start", "on by x", "off by stop")
		})
	}
}

// An output notifies the watchdog, and announces how long it will wait: at most until its next due
// time, so that an output that does not wake is detected.
func TestWatchdogDetectsLateOutputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var within time.Duration
		h := newHouse(t)
		h.to.Watch = func(string) func(time.Duration) {
			return func(d time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				within = d
			}
		}
		says := func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return within
		}
		h.lines["siren"] = &fakeLine{}
		h.change(spec("siren", nil))
		if got := says(); got != checkBusy+busyLimit {
			t.Errorf("at the start: %v", got)
		}
		time.Sleep(10 * time.Second)
		if got := says(); got != checkIdle+busyLimit {
			t.Errorf("at its safe level: %v", got)
		}
		h.order(on("siren", 700*time.Millisecond, "x"))
		if got := says(); got != 700*time.Millisecond+busyLimit {
			t.Errorf("on for 0.7 s: %v", got)
		}
		h.stop()
		if got := says(); got != 0 {
			t.Errorf("at the end: %v", got)
		}
	})
}

// An output with many orders for a slow line does not count as stopped.
func TestWatchdogIsNotifiedOfEachOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var due time.Time
		late := 0
		h := newHouse(t)
		h.to.Watch = func(string) func(time.Duration) {
			return func(d time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				if now := time.Now(); !due.IsZero() && now.After(due) {
					late++
				}
				if due = time.Now().Add(d); d == 0 {
					due = time.Time{}
				}
			}
		}
		h.lines["siren"] = &fakeLine{}
		h.change(spec("siren", nil))
		h.lines["siren"].with(func(l *fakeLine) { l.slow = 600 * time.Millisecond })
		for i := range maxOrders {
			h.Do(Order{Output: "siren", On: i%2 == 0, By: "x"})
		}
		time.Sleep(5 * time.Minute)
		h.stop()
		if got := len(h.readingTexts("siren")); got != 1+maxOrders {
			t.Errorf("%d readings", got)
		}
		if late > 0 {
			t.Errorf("%d times later than it said", late)
		}
	})
}

// A blockedLog is a log whose reader has stopped.
type blockedLog chan struct{}

func (l blockedLog) Write(p []byte) (int, error) {
	<-l
	return len(p), nil
}

// A log that hangs does not keep a line on.
func TestHungLogDoesNotKeepALineOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		blocked := make(blockedLog)
		h.to.Log = slog.New(slog.NewTextHandler(blocked, nil))
		h.lines["pump"] = &fakeLine{}
		h.change(spec("pump", withConfirm))
		h.order(on("pump", 0, "x"))
		time.Sleep(10 * time.Second)
		if h.lines["pump"].is() {
			t.Error("on, and in fault")
		}
		close(blocked)
		h.stop()
	})
}

// The level of a removed output whose line hung at its close is unknown.
func TestInterlockKnowsALineThatHungAtItsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apart := spec("open", func(s *Spec) { s.Interlock = []string{"close"} })
		h := newHouse(t, apart, spec("close", nil))
		h.order(on("close", 0, "x"))
		hang := make(chan struct{})
		h.lines["close"].with(func(l *fakeLine) { l.hangs = hang })
		h.change(apart)
		if got := h.order(on("open", 0, "x")); got != "interlock: close is not known to be off" {
			t.Error(got)
		}
		h.lines["close"].with(func(l *fakeLine) { l.hangs = nil })
		close(hang)
		synctest.Wait()
		h.change(apart, spec("close", nil))
		if got := h.order(on("open", 0, "x")); got != "done" {
			t.Error(got)
		}
		h.stop()
	})
}

// An alarm does not wait for the next retry of a line that answers again.
func TestOrderRetriesALineInFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		h.lines["siren"].with(func(l *fakeLine) { l.fails = errBus })
		time.Sleep(2 * time.Minute)
		if got := h.order(on("siren", 0, "x")); got != "fault: "+errBus.Error() {
			t.Error(got)
		}
		h.lines["siren"].with(func(l *fakeLine) { l.fails = nil })
		if got := h.order(on("siren", 0, "x")); got != "done" || !h.lines["siren"].is() {
			t.Error(got)
		}
		h.stop()
		h.want("siren", "off by start", "null: "+errBus.Error(), "off by fault", "on by x for 1m", "off by stop")
	})
}

// A line that another program holds is opened as soon as possible.
func TestLineIsOpenedAsSoonAsPossible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.lines["siren"] = &fakeLine{fails: errors.New("busy"), on: true}
		h.change(spec("siren", nil))
		time.Sleep(time.Minute)
		h.lines["siren"].with(func(l *fakeLine) { l.fails = nil })
		time.Sleep(maxRetry)
		if got := h.order(on("siren", 0, "x")); got != "done" {
			t.Error(got)
		}
		h.stop()
		h.want("siren", "null: busy", "off by fault", "on by x for 1m", "off by stop")
	})
}

// A change of a line by another program, or by a power dip of an expander, is detected within a
// second while the output is on, and within a minute at its safe level.
func TestUnorderedChangeOfALineIsDetected(t *testing.T) {
	for _, is := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, spec("siren", func(s *Spec) { s.MaxOn = time.Hour }))
			defer h.stop()
			time.Sleep(10 * time.Second)
			within := checkIdle
			if is {
				h.order(on("siren", 0, "x"))
				within = checkBusy
			}
			h.lines["siren"].with(func(l *fakeLine) { l.on = !is })
			time.Sleep(within + 2*secondReadAfter)
			if got := h.eventNames(); !slices.Equal(got, []string{"output_fault", "recovered"}) {
				t.Errorf("while it is %s: %v", word(is), got)
			}
			if h.lines["siren"].is() {
				t.Error("not made safe")
			}
		})
	}
}

// A welded relay stays in fault: its real level is reported.
func TestStuckLineStaysInFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		h.order(on("siren", 0, "x"))
		h.lines["siren"].with(func(l *fakeLine) { l.stuck = true })
		time.Sleep(time.Hour)
		if s := h.Status()[0]; !strings.Contains(s.Err, "is on and should be off") {
			t.Errorf("%+v", s)
		}
		if got := h.eventNames(); len(got) != 1 {
			t.Errorf("one fault makes %v", got)
		}
		h.stop()
		h.want("siren", "off by start", "on by x for 1m", "null: is on and should be off")
	})
}

func TestHungLineAffectsItsOwnOutputOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil), spec("lamp", nil))
		hang := make(chan struct{})
		h.lines["siren"].with(func(l *fakeLine) { l.hangs = hang })
		h.Do(on("siren", 0, "x"))
		for range 5 {
			if got := h.order(on("lamp", 0, "x")); got != "done" {
				t.Error(got)
			}
			time.Sleep(time.Second)
		}
		if s := h.Status()[0]; !strings.HasPrefix(s.Err, "hangs") {
			t.Errorf("%+v", s)
		}
		h.order(off("lamp", "x"))
		close(hang) // it returns now, too late
		synctest.Wait()
		if h.lines["siren"].is() {
			t.Error("a line that hung is on when it returns")
		}
		h.stop()
		h.want("lamp", "off by start", "on by x for 1m", "off by x")
	})
}

// The end of the agent does not wait for a hung line, which is set to its safe level when it returns.
func TestHungLineDoesNotBlockShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		h.order(on("siren", 0, "x"))
		hang := make(chan struct{})
		h.lines["siren"].with(func(l *fakeLine) { l.hangs = hang })
		start := time.Now()
		h.stop()
		if took := time.Since(start); took > 3*(lineTimeout+lineGrace) {
			t.Errorf("the end took %v", took)
		}
		close(hang)
		synctest.Wait()
		if h.lines["siren"].is() || h.lines["siren"].isOpen {
			t.Error("not safe, or not closed")
		}
	})
}

// A hung disk delays the history, but no timer.
func TestHungDiskDoesNotDelayTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil))
		disk := make(chan struct{})
		h.record = func(sensors.Reading) { <-disk }
		h.order(on("siren", time.Second, "x"))
		time.Sleep(time.Second + time.Millisecond)
		if h.lines["siren"].is() {
			t.Error("on after its time")
		}
		close(disk)
		h.stop()
		h.want("siren", "off by start", "on by x for 1s", "off by timer")
	})
}

// auxReading returns a reading of the auxiliary contact of a pump.
func auxReading(state string) sensors.Reading { return sensors.Reading{Stream: "aux", State: state} }

// withConfirm makes a pump confirm its state by its auxiliary contact.
func withConfirm(s *Spec) {
	s.Confirm = &Confirm{Stream: "aux", Is: "running", Within: 3 * time.Second}
}

func TestContactorMustConfirm(t *testing.T) {
	running := "null: should be on, but aux says stopped"
	for name, c := range map[string]struct {
		do   func(h *house)
		want []string
	}{
		"it does": {func(h *house) {
			h.Observe(auxReading("running"))
			time.Sleep(10 * time.Second)
		}, nil},
		"it does not": {func(*house) { time.Sleep(4 * time.Second) }, []string{running, "off by fault"}},
		"it stops": {func(h *house) {
			h.Observe(auxReading("running"))
			time.Sleep(5 * time.Second)
			h.Observe(auxReading("stopped"))
			time.Sleep(4 * time.Second)
		}, []string{running, "off by fault"}},
		"it is welded": {func(h *house) {
			h.Observe(auxReading("running"))
			h.order(off("pump", "x"))
			time.Sleep(time.Minute)
			h.Observe(auxReading("stopped"))
		}, []string{"off by x", "null: should be off, but aux says running", "off by fault"}},
		"it fails": {func(h *house) {
			h.Observe(auxReading("running"))
			time.Sleep(time.Second)
			h.Observe(sensors.Reading{Stream: "aux", Err: "cut"})
			time.Sleep(4 * time.Second)
			h.Observe(auxReading("stopped"))
		}, []string{"null: should be on, but aux says nothing: cut", "off by fault"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, spec("pump", withConfirm))
				h.Observe(auxReading("stopped"))
				h.Observe(sensors.Reading{Stream: "other", State: "running"})
				h.order(on("pump", 0, "x"))
				c.do(h)
				synctest.Wait()
				h.want("pump", append([]string{"off by start", "on by x for 1m"}, c.want...)...)
				h.stop()
			})
		})
	}
}

// The time of a confirmation counts from the change, not from the check after it.
func TestConfirmationTimeCountsFromTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("pump", withConfirm))
		defer h.stop()
		h.Observe(auxReading("stopped"))
		time.Sleep(time.Minute)
		h.order(on("pump", 0, "x"))
		time.Sleep(3*time.Second - time.Millisecond)
		if s := h.Status()[0]; s.Err != "" || !s.On {
			t.Errorf("before its time: %+v", s)
		}
		time.Sleep(2 * time.Millisecond)
		if h.lines["pump"].is() {
			t.Error("on, and not confirmed in time")
		}
	})
}

// At the start, a sensor without a reading is not a fault.
func TestConfirmationMayStartLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("pump", func(s *Spec) {
			s.Confirm = &Confirm{Stream: "aux", Is: "running", Within: time.Second}
		}))
		defer h.stop()
		time.Sleep(time.Minute)
		h.want("pump", "off by start")
	})
}
