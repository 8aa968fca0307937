package sensors

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// counting opens a device that counts from 1.
func counting() (func(context.Context) ([]Sample, error), error) {
	n := 0
	return func(context.Context) ([]Sample, error) { n++; return sample(float64(n)), nil }, nil
}

// specOf returns a sensor with one stream of its name, of quantity "q".
func specOf(name string, every time.Duration) Spec {
	return Spec{Name: name, Every: every, Streams: []Stream{{Name: name, Quantity: Quantity{Name: "q"}}}}
}

// change runs a group of counting sensors for 10 s with each of the lists.
func change(t *testing.T, lists ...[]Spec) *bench {
	t.Helper()
	b := &bench{got: map[string][]Reading{}, opened: map[string]int{}, ended: map[string]int{},
		open: map[string]func() (func(context.Context) ([]Sample, error), error){
			"a": counting, "b": counting, "c": counting}}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(Wiring{Open: b.openOne, Record: b.record, Report: b.report,
			Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.NewTextHandler(&b.log, nil))})
		for _, specs := range lists {
			g.Change(ctx, specs, func([]Spec) {})
			time.Sleep(10*time.Second - time.Millisecond) // synctest's clock; the next turn is still to come
		}
		cancel()
		g.Wait()
	})
	return b
}

// values returns the values of the readings of a stream; numbered reports that they are numbered from 1
// without a gap.
func (b *bench) values(stream string) (values []float64, numbered bool) {
	numbered = true
	for i, r := range b.got[stream] {
		values = append(values, r.Value)
		numbered = numbered && r.Seq == uint64(i+1)
	}
	return values, numbered
}

func TestUnchangedSensorKeepsRunning(t *testing.T) {
	for name, second := range map[string][]Spec{
		"another is added":   {specOf("a", time.Second), specOf("b", time.Second), specOf("c", time.Second)},
		"another is removed": {specOf("a", time.Second)},
		"another changes":    {specOf("b", 2*time.Second), specOf("a", time.Second)},
		"nothing changes":    {specOf("a", time.Second), specOf("b", time.Second)},
	} {
		b := change(t, []Spec{specOf("a", time.Second), specOf("b", time.Second)}, second)
		values, numbered := b.values("a")
		if len(values) < 20 || !numbered || !slices.IsSorted(values) || b.opened["a"] != 1 || b.ended["a"] != 1 {
			t.Errorf("%s: values %v, numbered without a gap: %t; opened %d times, closed %d times",
				name, values, numbered, b.opened["a"], b.ended["a"])
		}
	}
}

func TestChangedSensorRestartsAndKeepsItsNumbering(t *testing.T) {
	slow, gone := specOf("b", 5*time.Second), []Spec{specOf("a", time.Second)}
	for name, lists := range map[string][][]Spec{
		"changed":           {{specOf("a", time.Second), specOf("b", time.Second)}, {specOf("a", time.Second), slow}},
		"removed, and back": {{specOf("a", time.Second), specOf("b", time.Second)}, gone, {specOf("a", time.Second), slow}},
	} {
		b := change(t, lists...)
		values, numbered := b.values("b")
		want := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2}
		if !slices.Equal(values, want) || !numbered || b.opened["b"] != 2 || b.ended["b"] != 2 {
			t.Errorf("%s: values %v, want %v; numbered without a gap: %t; opened %d times, closed %d times",
				name, values, want, numbered, b.opened["b"], b.ended["b"])
		}
	}
}

// The alarm stream of a limit has its own numbers.
func TestAlarmNumbersContinue(t *testing.T) {
	spec := func(every time.Duration) []Spec {
		s := specOf("a", every)
		s.Streams[0].Filter.Alarm = &Limit{At: 5, Clear: 5, Stream: Stream{Name: "a/alarm", Quantity: Quantity{
			States: AlarmStates}}}
		return []Spec{s}
	}
	b := change(t, spec(time.Second), spec(time.Second/2))
	if values, numbered := b.values("a/alarm"); len(values) < 4 || !numbered {
		t.Errorf("alarms %v, numbered without a gap: %t", values, numbered)
	}
}

// The new sensor may have the device of the old one.
func TestOldSensorsHaveEndedBeforeNewOnesStart(t *testing.T) {
	b := &bench{opened: map[string]int{}, ended: map[string]int{}, got: map[string][]Reading{},
		open: map[string]func() (func(context.Context) ([]Sample, error), error){
			"a": counting, "b": counting, "c": counting}}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(Wiring{Open: b.openOne, Record: b.record, Report: b.report,
			Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler)})
		g.Change(ctx, []Spec{specOf("a", time.Second), specOf("b", time.Second)}, func([]Spec) {})
		synctest.Wait()
		called := false
		keep := specOf("b", time.Second)
		g.Change(ctx, []Spec{specOf("a", time.Minute), keep, specOf("c", time.Second)}, func(kept []Spec) {
			called = true
			if b.ended["a"] != 1 || b.opened["c"] != 0 || len(kept) != 1 || kept[0].Name != "b" {
				t.Errorf("between: the old one was closed %d times, the new one opened %d times, kept are %v",
					b.ended["a"], b.opened["c"], kept)
			}
		})
		if !called {
			t.Error("between was not called")
		}
		cancel()
		g.Wait()
	})
}
