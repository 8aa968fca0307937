package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A device is a fake sensor that calls its functions.
type device struct {
	next   func(ctx context.Context) ([]Sample, error)
	closed func()
}

func (d device) Next(ctx context.Context) ([]Sample, error) { return d.next(ctx) }
func (d device) Close() error                               { d.closed(); return nil }

// A bench runs sensors and stores their readings.
type bench struct {
	mu            sync.Mutex
	got           map[string][]Reading
	opened, ended map[string]int
	open          map[string]func() (func(context.Context) ([]Sample, error), error)
	events        []string // event and details
	log           strings.Builder
}

// sampleFor runs the sensors for a time; each has one stream, of quantity "q".
func sampleFor(t *testing.T, length time.Duration, every map[string]time.Duration,
	open map[string]func() (func(context.Context) ([]Sample, error), error)) *bench {
	t.Helper()
	b := &bench{got: map[string][]Reading{}, opened: map[string]int{}, ended: map[string]int{}, open: open}
	synctest.Test(t, func(t *testing.T) {
		var specs []Spec
		for name := range open {
			specs = append(specs, Spec{Name: name, Every: every[name],
				Streams: []Stream{{Name: name, Quantity: Quantity{Name: "q", Unit: "%",
					States: []string{"closed", "open"}}}}})
		}
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		Run(ctx, specs, Wiring{
			Open: b.openOne, Record: b.record, Report: b.report,
			Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		})
	})
	return b
}

func (b *bench) openOne(_ context.Context, spec Spec) (Sensor, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened[spec.Name]++
	next, err := b.open[spec.Name]()
	if err != nil {
		return nil, err
	}
	return device{next, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended[spec.Name]++
	}}, nil
}

func (b *bench) record(r Reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got[r.Stream] = append(b.got[r.Stream], r)
}

func (b *bench) report(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e.Name+" "+string(e.Details))
}

func sample(v float64) []Sample { return []Sample{{Quantity: "q", Value: v}} }

// steady always opens and always answers 42.
func steady() (func(context.Context) ([]Sample, error), error) {
	return func(context.Context) ([]Sample, error) { return sample(42), nil }, nil
}

// TestOneFaultTouchesNoOtherSensor runs a sensor that never opens, one that
// fails now and then, one that hangs and one that panics beside a healthy one.
func TestOneFaultTouchesNoOtherSensor(t *testing.T) {
	n := 0
	b := sampleFor(t, time.Hour-1, map[string]time.Duration{"good": time.Second, "absent": time.Second,
		"flaky": time.Second, "hung": time.Second, "mad": time.Second},
		map[string]func() (func(context.Context) ([]Sample, error), error){
			"good": steady,
			"absent": func() (func(context.Context) ([]Sample, error), error) {
				return nil, errors.New("no such device")
			},
			"flaky": func() (func(context.Context) ([]Sample, error), error) {
				return func(context.Context) ([]Sample, error) {
					if n++; n%10 == 0 {
						return nil, errors.New("no acknowledge")
					}
					return sample(1), nil
				}, nil
			},
			"hung": func() (func(context.Context) ([]Sample, error), error) {
				return func(ctx context.Context) ([]Sample, error) { <-ctx.Done(); return nil, ctx.Err() }, nil
			},
			"mad": func() (func(context.Context) ([]Sample, error), error) {
				return func(context.Context) ([]Sample, error) { panic("index out of range") }, nil
			},
		})
	if n := len(b.got["good"]); n != 3600 {
		t.Errorf("the healthy sensor has %d readings in an hour, want 3600", n)
	}
	for _, name := range []string{"absent", "hung", "mad"} {
		if got := b.got[name]; len(got) != 1 || got[0].Err == "" || got[0].Seq != 1 {
			t.Errorf("%s: %+v; want one failed reading", name, got)
		}
	}
	if b.opened["absent"] < 200 || b.opened["absent"] > 400 {
		t.Errorf("the absent sensor was tried %d times in an hour", b.opened["absent"])
	}
	if strings.Contains(b.got["mad"][0].Err, "goroutine") {
		t.Errorf("a stack in a reading: %s", b.got["mad"][0].Err)
	}
}

func TestFailureIsReportedOnceBeforeRecovery(t *testing.T) {
	fails := map[int]bool{3: true, 4: true, 5: true, 8: true}
	n := 0
	b := sampleFor(t, time.Minute, map[string]time.Duration{"room": time.Second},
		map[string]func() (func(context.Context) ([]Sample, error), error){
			"room": func() (func(context.Context) ([]Sample, error), error) {
				return func(context.Context) ([]Sample, error) {
					if n++; fails[n] {
						return nil, errors.New("i2c-1 0x38: no acknowledge")
					}
					return sample(float64(n)), nil
				}, nil
			},
		})
	var got []string
	for i, r := range b.got["room"][:7] {
		if r.Seq != uint64(i+1) {
			t.Errorf("reading %d has seq %d", i, r.Seq)
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%v %s", r.Value, r.Err)))
	}
	want := "[1 2 0 i2c-1 0x38: no acknowledge 6 7 0 i2c-1 0x38: no acknowledge 9]"
	if fmt.Sprint(got) != want {
		t.Errorf("\ngot  %v\nwant %v", got, want)
	}
	if n := strings.Count(b.log.String(), "sensor fails"); n != 2 {
		t.Errorf("%d failures in the log:\n%s", n, b.log.String())
	}
	if n := strings.Count(b.log.String(), "answers again"); n != 2 {
		t.Errorf("%d recoveries in the log", n)
	}
	if b.opened["room"] != 5 || b.ended["room"] != 5 {
		t.Errorf("opened %d times and closed %d times, want again after each of 4 failures", b.opened["room"],
			b.ended["room"])
	}
}

func TestOneQuantityFailsAlone(t *testing.T) {
	n := 0
	b := sampleFor(t, 10*time.Second-1, map[string]time.Duration{"room": time.Second},
		map[string]func() (func(context.Context) ([]Sample, error), error){
			"room": func() (func(context.Context) ([]Sample, error), error) {
				return func(context.Context) ([]Sample, error) {
					switch n++; n {
					case 3, 4:
						return []Sample{{Quantity: "q", Err: errors.New("skipped")}}, nil
					case 6:
						return sample(math.NaN()), nil
					}
					return sample(1), nil
				}, nil
			},
		})
	errs := 0
	for _, r := range b.got["room"] {
		if r.Err != "" {
			errs++
		}
	}
	if errs != 2 || len(b.got["room"]) != 9 || b.opened["room"] != 1 {
		t.Errorf("%d failures in %d readings, opened %d times; want 2 in 9, and 1", errs, len(b.got["room"]),
			b.opened["room"])
	}
}

func TestSlowSensorSkipsTicksAndStaysAligned(t *testing.T) {
	b := sampleFor(t, 10*time.Second-1, map[string]time.Duration{"slow": time.Second},
		map[string]func() (func(context.Context) ([]Sample, error), error){
			"slow": func() (func(context.Context) ([]Sample, error), error) {
				return func(context.Context) ([]Sample, error) {
					time.Sleep(1500 * time.Millisecond)
					return sample(1), nil
				}, nil
			},
		})
	got := b.got["slow"]
	if len(got) != 5 {
		t.Fatalf("%d readings in 10 s, want one every 2 s", len(got))
	}
	for i, r := range got[1:] {
		if d := r.At.Unix - got[i].At.Unix; d != 2000 {
			t.Errorf("%d ms between readings %d and %d", d, i, i+1)
		}
	}
}

func TestStatesCarryTheirWord(t *testing.T) {
	n := 0
	b := sampleFor(t, 3*time.Second, nil, map[string]func() (func(context.Context) ([]Sample, error), error){
		"door": func() (func(context.Context) ([]Sample, error), error) {
			return func(ctx context.Context) ([]Sample, error) {
				if n++; n > 3 {
					<-ctx.Done() // an event that does not come is no failure
					return nil, ctx.Err()
				}
				return sample(float64(n % 2)), nil
			}, nil
		},
	})
	var words []string
	for _, r := range b.got["door"] {
		words = append(words, r.State)
	}
	if fmt.Sprint(words) != "[open closed open]" {
		t.Errorf("states %v", words)
	}
}
