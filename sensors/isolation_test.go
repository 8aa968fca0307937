package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// site is a few sensors on one agent, and their readings.
type site struct {
	open map[string]func(context.Context) (Sensor, error)

	mu     sync.Mutex
	got    map[string][]Reading
	events []string
}

// run runs the sensors until ctx is done, within a synctest bubble.
func (s *site) run(ctx context.Context, specs ...Spec) {
	s.got = map[string][]Reading{}
	Run(ctx, specs, Wiring{
		Open: func(ctx context.Context, spec Spec) (Sensor, error) { return s.open[spec.Name](ctx) },
		Record: func(r Reading) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got[r.Stream] = append(s.got[r.Stream], r)
		},
		Report: func(e Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e.Name+" "+string(e.Details))
		},
		Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
	})
}

func spec(name string, every time.Duration, w Filter) Spec {
	return Spec{Name: name, Every: every, Streams: []Stream{{Name: name, Every: every, Filter: w,
		Quantity: Quantity{Name: "q"}}}}
}

// part is a fake sensor that counts concurrent calls.
type part struct {
	next     func(context.Context) ([]Sample, error)
	closed   atomic.Int32
	inside   atomic.Int32 // running calls
	maxCalls atomic.Int32 // maximum of inside
}

func (p *part) enter() func() {
	p.maxCalls.Store(max(p.maxCalls.Load(), p.inside.Add(1)))
	return func() { p.inside.Add(-1) }
}

func (p *part) Next(ctx context.Context) ([]Sample, error) {
	defer p.enter()()
	return p.next(ctx)
}

func (p *part) Close() error {
	defer p.enter()()
	p.closed.Add(1)
	return nil
}

// TestHealthySensorMissesNoSampleBesideBrokenOnes is an hour beside a sensor
// that hangs in the kernel, one that is pulled and put back, and one that answers
// garbage.
func TestHealthySensorMissesNoSampleBesideBrokenOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, release := time.Now(), make(chan struct{})
		pulled := func() bool {
			m := int(time.Since(begin).Minutes())
			return m >= 10 && m < 40
		}
		var hung part
		hung.next = func(context.Context) ([]Sample, error) { <-release; return sample(1), nil } // ignores ctx
		s := site{open: map[string]func(context.Context) (Sensor, error){
			"good": func(context.Context) (Sensor, error) {
				return &part{next: func(context.Context) ([]Sample, error) { return sample(1), nil }}, nil
			},
			"hung": func(context.Context) (Sensor, error) { return &hung, nil },
			"pulled": func(context.Context) (Sensor, error) {
				if pulled() {
					return nil, errors.New("no acknowledge")
				}
				return &part{next: func(context.Context) ([]Sample, error) {
					if pulled() {
						return nil, errors.New("no acknowledge")
					}
					return sample(1), nil
				}}, nil
			},
			"garbage": func(context.Context) (Sensor, error) {
				n := 0
				return &part{next: func(context.Context) ([]Sample, error) {
					n++
					switch n % 5 {
					case 0:
						return sample(math.NaN()), nil
					case 1:
						return sample(1e30), nil
					case 2:
						return []Sample{{Quantity: "what?"}, {}}, nil
					case 3:
						return nil, errors.New("\x00\xff garbage\nof two lines")
					}
					panic("index out of range")
				}}, nil
			},
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour-1)
		defer cancel()
		s.run(ctx, spec("good", time.Second, Filter{}), spec("hung", time.Second, Filter{}),
			spec("pulled", time.Second, Filter{}), spec("garbage", time.Second, Filter{Valid: Valid{Max: new(100.0)}}))
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if left := strings.Count(string(stacks), "sensors.start.func1("); left != 1 {
			t.Errorf("%d goroutines are left, want the one that hangs:\n%s", left, stacks)
		}
		close(release)
		synctest.Wait()
		if hung.maxCalls.Load() != 1 || hung.closed.Load() != 1 {
			t.Errorf("the sensor that hung had %d calls at a time and was closed %d times", hung.maxCalls.Load(),
				hung.closed.Load())
		}

		if got := s.got["good"]; len(got) != 3600 {
			t.Errorf("the healthy sensor has %d readings in an hour, want 3600", len(got))
		}
		for i, r := range s.got["good"] {
			if r.Err != "" || wallTime(r.At).Sub(begin) != time.Duration(i)*time.Second {
				t.Fatalf("reading %d: %+v", i, r)
			}
		}
		if got := s.got["hung"]; len(got) != 1 || got[0].Err != "hangs: no answer for 10s" {
			t.Errorf("hung: %+v", got)
		}
		if got := s.got["pulled"]; len(got) < 1+600+1190 || len(got) > 1+600+1202 {
			t.Errorf("pulled: %d readings in 30 minutes", len(got))
		}
		for _, r := range s.got["garbage"] {
			if r.Err == "" {
				t.Errorf("garbage became %+v", r)
			}
		}
		for _, want := range []string{`fault {"error":"hangs: no answer for 10s","failures":3,"sensor":"hung"}`,
			`fault {"error":"no acknowledge","failures":3,"sensor":"pulled"}`,
			`recovered {"after_s":1800,"sensor":"pulled"}`,
			`"failures":3,"sensor":"garbage","stream":"garbage"}`, `"failures":3,"sensor":"garbage"}`} {
			if n := strings.Count(strings.Join(s.events, "\n"), want); n != 1 {
				t.Errorf("%d events %s in\n%s", n, want, strings.Join(s.events, "\n"))
			}
		}
	})
}

func TestHungSensorResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, opened := time.Now(), 0
		var first part
		first.next = func(context.Context) ([]Sample, error) { time.Sleep(17 * time.Minute); return sample(1), nil }
		s := site{open: map[string]func(context.Context) (Sensor, error){
			"room": func(context.Context) (Sensor, error) {
				if opened++; opened == 1 {
					return &first, nil
				}
				if first.closed.Load() != 1 {
					t.Error("opened twice")
				}
				return &part{next: func(context.Context) ([]Sample, error) { return sample(2), nil }}, nil
			},
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute-1)
		defer cancel()
		s.run(ctx, spec("room", 30*time.Second, Filter{}))
		got := s.got["room"]
		if len(got) != 3 || got[1].Value != 2 || wallTime(got[1].At).Sub(begin) != 17*time.Minute ||
			wallTime(got[2].At).Sub(begin) != 17*time.Minute+30*time.Second {
			t.Errorf("%+v", got)
		}
		if len(s.events) != 2 {
			t.Error(s.events)
		}
	})
}

// An open, a wait for an event and a close may hang too.
func TestRunReturnsThoughADriverHangs(t *testing.T) {
	for _, c := range []struct {
		what  string
		every time.Duration
		in    time.Duration // Run returns after its end
	}{{"open", 0, time.Second}, {"next", 0, time.Second}, {"next", time.Second, time.Second},
		{"close", time.Second, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			closed := 0
			hang := func(what string) {
				if what == c.what {
					<-release
				}
			}
			s := site{open: map[string]func(context.Context) (Sensor, error){
				"room": func(context.Context) (Sensor, error) {
					hang("open")
					return device{func(ctx context.Context) ([]Sample, error) {
						if hang("next"); c.every == 0 {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return sample(1), nil
					}, func() { closed++; hang("close") }}, nil
				},
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second+1)
			defer cancel()
			begin := time.Now()
			s.run(ctx, spec("room", c.every, Filter{}))
			if took := time.Since(begin) - 5*time.Second - 1; took != c.in {
				t.Errorf("%s hangs: Run returned after %v, want %v", c.what, took, c.in)
			}
			close(release)
			synctest.Wait()
			if closed != 1 {
				t.Errorf("%s hangs: closed %d times", c.what, closed)
			}
		})
	}
}

func TestEventSensorHasNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site{open: map[string]func(context.Context) (Sensor, error){
			"door": func(context.Context) (Sensor, error) {
				return &part{next: func(ctx context.Context) ([]Sample, error) {
					timer := time.NewTimer(5 * time.Hour)
					defer timer.Stop()
					select {
					case <-timer.C:
						return sample(1), nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}}, nil
			},
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		begin := time.Now()
		s.run(ctx, spec("door", 0, Filter{}))
		if took := time.Since(begin); took != 24*time.Hour {
			t.Errorf("Run ended after %v", took)
		}
		if len(s.got["door"]) != 4 || len(s.events) != 0 {
			t.Errorf("%+v %v", s.got["door"], s.events)
		}
	})
}

func TestSlowDriverGetsADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site{open: map[string]func(context.Context) (Sensor, error){
			"room": func(context.Context) (Sensor, error) {
				return &part{next: func(ctx context.Context) ([]Sample, error) {
					<-ctx.Done()
					return nil, fmt.Errorf("i2c-1 0x38: %w", ctx.Err())
				}}, nil
			},
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.run(ctx, spec("room", time.Second, Filter{}))
		if got := s.got["room"]; len(got) != 1 ||
			got[0].Err != "no answer within 10s: i2c-1 0x38: context deadline exceeded" {
			t.Errorf("%+v", got)
		}
	})
}

func TestDriverNoticesAreSentUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := site{open: map[string]func(context.Context) (Sensor, error){
			"room": func(ctx context.Context) (Sensor, error) {
				Notice(ctx, NewEvent("fault", map[string]any{"bus": "i2c-1"}))
				<-release
				Notice(ctx, NewEvent("fault", map[string]any{"bus": "too late"}))
				return nil, errors.New("gone")
			},
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.run(ctx, spec("room", time.Second, Filter{}))
		close(release)
		synctest.Wait()
		if fmt.Sprint(s.events) != `[fault {"bus":"i2c-1"}]` {
			t.Error(s.events)
		}
	})
	Notice(context.Background(), Event{}) // as in `holdfast read`: no receiver
}
