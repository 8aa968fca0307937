package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// TestWaitingSensorsHaveNoGoroutines: and they miss no tick.
func TestWaitingSensorsHaveNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		s := site{open: map[string]func(context.Context) (Sensor, error){}}
		var specs []Spec
		for i := range n {
			name := fmt.Sprint("s", i)
			specs = append(specs, spec(name, time.Second, Filter{}))
			s.open[name] = func(context.Context) (Sensor, error) {
				return &part{next: func(context.Context) ([]Sample, error) { return sample(1), nil }}, nil
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute-1)
		defer cancel()
		before, between := runtime.NumGoroutine(), 0
		time.AfterFunc(30500*time.Millisecond, func() { between = runtime.NumGoroutine() })
		s.run(ctx, specs...)
		// Of this run there are the caller, the function that counts, the pool, and what other
		// tests have left.
		if between > before+10 {
			t.Errorf("%d goroutines between two ticks, %d without sensors", between, before)
		}
		for _, spec := range specs {
			if got := len(s.got[spec.Name]); got != 60 {
				t.Fatalf("%s: %d readings in a minute, want 60", spec.Name, got)
			}
		}
	})
}

// TestWaitingSensorDoesNotDelayOthers has fifty sensors due with one that is to be on time, all of
// which wait for something: for a device, for the disk that an alarm is written to, or
// for that of an event.
func TestWaitingSensorDoesNotDelayOthers(t *testing.T) {
	const wait = 700 * time.Millisecond
	failing := func(context.Context) ([]Sample, error) { return nil, errors.New("no acknowledge") }
	good := func(context.Context) ([]Sample, error) { return sample(1), nil }
	for name, c := range map[string]struct {
		next     func(context.Context) ([]Sample, error)
		priority Priority
		record   time.Duration // that Record of an alarm takes
		report   time.Duration
	}{
		"device": {next: func(context.Context) ([]Sample, error) { time.Sleep(wait); return sample(1), nil }},
		"alarm":  {next: good, priority: Alarm, record: wait},
		"event":  {next: failing, report: wait},
	} {
		synctest.Test(t, func(t *testing.T) {
			begin, specs := time.Now(), []Spec(nil)
			for i := range 50 {
				slow := spec(fmt.Sprint("slow", i), time.Second, Filter{})
				slow.Streams[0].Priority = c.priority
				specs = append(specs, slow)
			}
			specs = append(specs, spec("punctual", time.Second, Filter{}))
			var at []time.Duration
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second-1)
			defer cancel()
			Run(ctx, specs, Wiring{
				Open: func(_ context.Context, spec Spec) (Sensor, error) {
					if spec.Name == "punctual" {
						return &part{next: good}, nil
					}
					return &part{next: c.next}, nil
				},
				Record: func(r Reading) {
					if r.Stream == "punctual" {
						at = append(at, time.Since(begin))
					} else if r.Priority == Alarm {
						time.Sleep(c.record)
					}
				},
				Report: func(Event) { time.Sleep(c.report) },
				Clock:  clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
			})
			if len(at) != 10 {
				t.Errorf("%s: %d readings in ten seconds, want 10", name, len(at))
			}
			for i, at := range at {
				if at != time.Duration(i)*time.Second {
					t.Errorf("%s: reading %d came after %v", name, i, at)
				}
			}
		})
	}
}

// quick is an immediate sensor.
type quick struct {
	part
	immediate bool
}

func (q *quick) IsImmediate() bool { return q.immediate }

// TestOnlyImmediateSensorsAreCalledWithoutAGoroutine: those with a pace that say that
// they return at once. If one panics, that is its failure.
func TestOnlyImmediateSensorsAreCalledWithoutAGoroutine(t *testing.T) {
	for name, c := range map[string]struct {
		every     time.Duration
		immediate bool
		want      bool
	}{
		"immediate": {time.Second, true, true}, "not immediate": {time.Second, false, false},
		"waits for events": {0, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var stacks []string
			s := site{open: map[string]func(context.Context) (Sensor, error){
				"room": func(context.Context) (Sensor, error) {
					return &quick{immediate: c.immediate, part: part{next: func(ctx context.Context) ([]Sample, error) {
						stack := make([]byte, 10_000)
						stacks = append(stacks, string(stack[:runtime.Stack(stack, false)]))
						if len(stacks) == 1 {
							panic("index out of range")
						}
						<-time.After(time.Millisecond)
						return sample(1), nil
					}}}, nil
				}}}
			ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
			defer cancel()
			s.run(ctx, spec("room", c.every, Filter{}))
			if len(stacks) < 4 || len(s.got["room"]) < 4 || s.got["room"][0].Err == "" {
				t.Fatalf("%s: %d calls, readings %+v", name, len(stacks), s.got["room"])
			}
			for _, stack := range stacks {
				if got := !strings.Contains(stack, "sensors.start.func1"); got != c.want {
					t.Errorf("%s: called without a goroutine: %t\n%s", name, got, stack)
				}
			}
		})
	}
}

// TestScheduleRunsEverySensor changes the sensors of a group at random, of which some hang,
// some fail and some are slow: each healthy one is measured on each of its ticks, no
// device is used by two at a time, and all end.
func TestScheduleRunsEverySensor(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lists := rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.IntRange(0, 11), 0, 12, rapid.ID[int]), 1, 4).Draw(rt, "lists")
		pauses := rapid.SliceOfN(rapid.IntRange(1, 400), len(lists), len(lists)).Draw(rt, "ms")
		synctest.Test(t, func(t *testing.T) { changing(t, lists, pauses) })
	})
}

// changing runs a group with each list of sensors for so many tenths of a second. The
// number of a sensor determines its behaviour.
func changing(t *testing.T, lists [][]int, pauses []int) {
	var mu sync.Mutex
	calls, inside := map[string]int{}, map[string]int{}
	release := make(chan struct{})
	next := func(name string, like int) func(context.Context) ([]Sample, error) {
		return func(ctx context.Context) ([]Sample, error) {
			mu.Lock()
			calls[name]++
			// One that hangs is left behind when it is removed, and may be back meanwhile.
			if inside[name]++; inside[name] > 1 && like != 2 {
				t.Errorf("%s is called twice at a time", name)
			}
			mu.Unlock()
			defer func() { mu.Lock(); inside[name]--; mu.Unlock() }()
			switch like {
			case 1:
				return nil, errors.New("no acknowledge")
			case 2:
				<-release // ignores ctx
			case 3:
				<-time.After(300 * time.Millisecond)
			}
			return sample(1), nil
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := NewGroup(Wiring{Record: func(Reading) {}, Report: func(Event) {},
		Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
		Open: func(_ context.Context, spec Spec) (Sensor, error) {
			return &part{next: next(spec.Name, int(spec.Name[0]-'a')%4)}, nil
		}})
	for i, list := range lists {
		var specs []Spec
		for _, n := range list {
			specs = append(specs, spec(string(rune('a'+n)), time.Second, Filter{}))
		}
		had := map[string]bool{}
		g.Change(ctx, specs, func(kept []Spec) {
			for _, spec := range kept {
				had[spec.Name] = true
			}
		})
		began := time.Now()
		mu.Lock()
		clear(calls)
		mu.Unlock()
		time.Sleep(time.Duration(pauses[i])*100*time.Millisecond + 50*time.Millisecond)
		synctest.Wait()
		mu.Lock()
		ticks := int(time.Since(began) / time.Second)
		for _, spec := range specs {
			if healthy := int(spec.Name[0]-'a')%4 == 0; healthy && calls[spec.Name] < ticks {
				t.Errorf("%s: %d measurements on %d ticks (it went on: %t)", spec.Name, calls[spec.Name], ticks, had[spec.Name])
			}
		}
		mu.Unlock()
	}
	cancel()
	g.Wait()
	close(release)
	synctest.Wait()
	if g.schedule.hasLeader || len(g.schedule.waiting) > 0 || g.schedule.taken != len(g.schedule.ready) {
		t.Errorf("after the end: a worker leads: %t; %d wait, %d of %d are taken", g.schedule.hasLeader,
			len(g.schedule.waiting), g.schedule.taken, len(g.schedule.ready))
	}
}

// TestOverloadedScheduleDoesNotGrow takes turns while another sampler is always ready.
func TestOverloadedScheduleDoesNotGrow(t *testing.T) {
	s, w := &schedule{}, &worker{}
	a, b := &paced{}, &paced{}
	s.ready = append(s.ready, a, b)
	for range 10_000 {
		p := s.take(w)
		s.ready = append(s.ready, p) // due again at once
	}
	if n := cap(s.ready); n > 64 {
		t.Errorf("room for %d, of which two are used", n)
	}
}
