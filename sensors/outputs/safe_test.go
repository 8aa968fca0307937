package outputs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAllOutputsAreMadeSafeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil), spec("pump", nil), spec("lock", func(s *Spec) { s.Safe = true }))
		defer h.stop()
		h.order(on("siren", 0, "x"))
		h.order(off("lock", "x"))
		if err := h.Safe(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait() // until it is recorded
		if h.lines["siren"].is() || !h.lines["lock"].is() {
			t.Error("not safe")
		}
		h.want("siren", "off by start", "on by x for 1m", "off by safe")
		h.want("pump", "off by start")
		h.want("lock", "on by start", "off by x for 1m", "on by safe")
	})
}

// Outputs that fail or hang are named; they do not delay the others.
func TestUnsafeOutputsAreNamed(t *testing.T) {
	want := func(t *testing.T, err error, hang string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "pump: ") || !strings.Contains(err.Error(), errBus.Error()) ||
			!strings.Contains(err.Error(), "fan: "+hang) || strings.Contains(err.Error(), "siren") {
			t.Errorf("%v", err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil), spec("pump", nil), spec("fan", nil))
		h.order(on("siren", 0, "x"))
		h.order(on("pump", 0, "x"))
		h.order(on("fan", 0, "x"))
		hang := make(chan struct{})
		h.lines["pump"].with(func(l *fakeLine) { l.fails = errBus })
		h.lines["fan"].with(func(l *fakeLine) { l.hangs = hang })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		want(t, h.Safe(ctx), "does not answer")
		close(hang)
		h.stop()
		if h.lines["siren"].is() {
			t.Error("not safe")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		hang := make(chan struct{})
		h.lines = map[string]*fakeLine{"siren": {on: true}, "pump": {fails: errBus}, "fan": {hangs: hang}}
		start := time.Now()
		want(t, MakeSafe(t.Context(), []Spec{spec("siren", nil), spec("pump", nil), spec("fan", nil)}, h.open), "hangs")
		if time.Since(start) > 2*time.Second {
			t.Errorf("it took %v", time.Since(start))
		}
		if h.lines["siren"].is() || h.lines["siren"].isOpen {
			t.Error("not safe, or not closed")
		}
		h.stop()
		close(hang)
	})
}

// An output that a reload is changing does not run, and is not known to be safe.
func TestSafeDuringAReloadNamesStoppedOutputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, spec("siren", nil), spec("pump", nil))
		defer h.stop()
		changed := spec("pump", func(s *Spec) { s.MaxOn = time.Hour })
		var err error
		h.Change(h.ctx, []Spec{spec("siren", nil), changed}, func([]Spec) { err = h.Safe(t.Context()) })
		if err == nil || err.Error() != "pump: is being changed by a reload" {
			t.Error(err)
		}
		synctest.Wait()
		if err := h.Safe(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A panic of a driver is a failure of its line only.
func TestPanicOfALineIsAFailure(t *testing.T) {
	err := MakeSafe(t.Context(), []Spec{spec("siren", nil)}, func(context.Context, Spec) (Line, error) {
		panic(errors.New("index out of range"))
	})
	if err == nil || !strings.Contains(err.Error(), "the line panicked: index out of range") {
		t.Error(err)
	}
}
