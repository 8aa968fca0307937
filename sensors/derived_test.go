package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// The expected values were computed by hand with the constants of the formula. At 20 °C the
// saturated pressure is 611.2 * exp(352.4/263.12) = 2332.6 Pa; half of that is
// 1166.3 / (461.5 * 293.15) = 8.62 g/m³, and condenses at 9.26 °C.
func TestFormulas(t *testing.T) {
	for _, c := range []struct {
		formula Formula
		values  []float64
		want    string
	}{
		{Difference, []float64{20.3, 20.2}, "0.1"},
		{Difference, []float64{35.1, 48.25}, "-13.15"},
		{Difference, []float64{math.MaxFloat64, -math.MaxFloat64}, "too large"},
		{Sum, []float64{0.1, 0.2, 0.3, 1431649.718}, "1.431650318e+06"},
		{DewPoint, []float64{20, 50}, "9.26"},
		{DewPoint, []float64{25, 60}, "16.69"},
		{DewPoint, []float64{20, 100}, "20"},
		{DewPoint, []float64{0, 100}, "0"},
		{DewPoint, []float64{-10, 80}, "-12.8"},
		{DewPoint, []float64{60, 10}, "17.53"},
		{DewPoint, []float64{20, 0}, "b is 0 %: there is no dew_point"},
		{DewPoint, []float64{60.1, 50}, "a is 60.1 °C: it can be computed from -45 to 60 °C"},
		{DewPoint, []float64{-45.1, 50}, "a is -45.1 °C"},
		{AbsoluteHumidity, []float64{20, 50}, "8.62"},
		{AbsoluteHumidity, []float64{25, 60}, "13.78"},
		{AbsoluteHumidity, []float64{0, 100}, "4.85"},
		{AbsoluteHumidity, []float64{-10, 80}, "1.89"},
		{AbsoluteHumidity, []float64{60, 10}, "13"},
		{AbsoluteHumidity, []float64{20, 0}, "0"},
		{AbsoluteHumidity, []float64{20, -1}, "b is -1 %: there is no absolute_humidity"},
	} {
		d := Derivation{Formula: c.formula, Sources: []Source{{Stream: "a"}, {Stream: "b"}}}
		v, err := d.Compute(c.values)
		got := fmt.Sprint(v)
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s of %v: %s, want %s", c.formula, c.values, got, c.want)
		}
	}
}

// The dew point is never above the temperature, and equals it in saturated air.
func TestDewPointIsBelowTheTemperature(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		temperature := float64(rapid.IntRange(-4500, 6000).Draw(t, "temperature")) / 100
		humidity := float64(rapid.IntRange(1, 1000).Draw(t, "humidity")) / 10
		got := dewPoint(temperature, humidity)
		if got > temperature || humidity == 100 && got != temperature {
			t.Fatalf("at %v °C and %v %% the dew point is %v °C", temperature, humidity, got)
		}
		// Cooled down to its dew point, air keeps its vapour: both are rounded to 0.01.
		pressure := func(t, humidity float64) float64 { return absoluteHumidity(t, humidity) * (absoluteZero + t) }
		cold, warm := pressure(got, 100), pressure(temperature, humidity)
		if got > magnusMin && math.Abs(cold-warm) > 0.01*(absoluteZero+magnusMax)+0.001*cold {
			t.Fatalf("at %v °C and %v %% the vapour is not that of %v °C and 100 %%", temperature, humidity, got)
		}
	})
}

func TestRatePerUnitOfTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		source Source
		per    time.Duration
		values []float64
		at     []float64 // seconds
		want   string
	}{
		{"kWh per hour", Source{Every: time.Minute, Total: true}, time.Hour,
			[]float64{100, 100.02, 100.02, 100.05}, []float64{0, 60, 120, 180}, "- 1.2 0 1.8"},
		{"L per minute", Source{Every: 10 * time.Second}, time.Minute, []float64{1, 3}, []float64{0, 10}, "- 12"},
		{"m³ per second", Source{Every: time.Minute}, time.Second, []float64{1, 1.06}, []float64{0, 60}, "- 0.001"},
		{"a third", Source{Every: time.Minute}, time.Second, []float64{0, 1}, []float64{0, 3}, "- 0.333333"},
		{"a meter that restarted", Source{Every: time.Minute, Total: true}, time.Hour,
			[]float64{5, 6, 0, 1}, []float64{0, 60, 120, 180}, "- 60 - 60"},
		{"what falls and is no meter", Source{Every: time.Minute}, time.Hour,
			[]float64{20, 19.5}, []float64{0, 60}, "- -30"},
		{"after a long silence", Source{Every: time.Minute}, time.Hour,
			[]float64{1, 2, 3}, []float64{0, 181, 241}, "- - 60"},
		{"with events silence is none", Source{}, time.Hour, []float64{1, 2}, []float64{0, 7200}, "- 0.5"},
		{"too soon", Source{}, time.Second, []float64{1, 2, 3}, []float64{0, 0.05, 1}, "- - 2"},
		{"too large", Source{}, time.Hour, []float64{0, math.MaxFloat64}, []float64{0, 1}, "- +Inf"},
	} {
		var g growth
		var got []string
		for i, v := range c.values {
			at := midnight.Add(time.Duration(c.at[i] * float64(time.Second)))
			rate, ok := g.rate(&Derivation{Formula: Rate, Sources: []Source{c.source}, Per: c.per}, v, at)
			if !ok {
				got = append(got, "-")
				continue
			}
			got = append(got, fmt.Sprint(rate))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %s, want %s", c.name, g, c.want)
		}
	}
}

// derivedSpec is the sensor "d", which is computed from other streams.
func derivedSpec(f Formula, filter Filter, sources ...Source) Spec {
	every := time.Duration(0)
	for _, s := range sources {
		every = max(every, s.Every)
	}
	return Spec{Name: "d", Derived: &Derivation{Formula: f, Sources: sources, Per: time.Hour},
		Streams: []Stream{{Name: "d", Every: every, Filter: filter, Quantity: Quantity{Name: string(f), Unit: "°C"}}}}
}

// A script answers a sensor's call by the time since the start.
type script func(ctx context.Context, since time.Duration) ([]Sample, error)

// atOnce answers at once.
func atOnce(value func(since time.Duration) (float64, error)) script {
	return func(_ context.Context, since time.Duration) ([]Sample, error) {
		v, err := value(since)
		if err != nil {
			return nil, err
		}
		return sample(v), nil
	}
}

// followDerived runs sensors with their scripts for a time, after it another list if
// there is one, and returns the readings of the sensor d.
func followDerived(t *testing.T, length time.Duration, scripts map[string]script, lists ...[]Spec) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		say := func(what string, at clock.Stamp) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, fmt.Sprintf("%v %s", wallTime(at).Sub(begin), what))
		}
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGroup(Wiring{
			Open: func(_ context.Context, spec Spec) (Sensor, error) {
				run := scripts[spec.Name]
				return device{func(ctx context.Context) ([]Sample, error) { return run(ctx, time.Since(begin)) }, func() {}}, nil
			},
			Record: func(r Reading) {
				what := strings.TrimSpace(fmt.Sprintf("%v %s", r.Value, r.State))
				if r.Err != "" {
					what = "null " + r.Err
				}
				if strings.HasPrefix(r.Stream, "d") {
					say(fmt.Sprintf("%s %d %s", r.Stream, r.Seq, what), r.At)
				}
			},
			Report: func(e Event) {
				if strings.Contains(string(e.Details), `"sensor":"d"`) {
					say(e.Name+" "+string(e.Details), e.At)
				}
			},
			Clock: clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
		})
		for _, specs := range lists {
			g.Change(ctx, specs, func([]Spec) {})
			time.Sleep(length - time.Millisecond) // synctest's clock
		}
		cancel()
		g.Wait()
	})
	return lines
}

// slow is a source whose measurement takes time, so that two sources with the same interval never
// answer at the same time.
func slow(after time.Duration, value func(since time.Duration) (float64, error)) script {
	return func(ctx context.Context, since time.Duration) ([]Sample, error) {
		select {
		case <-time.After(after):
		case <-ctx.Done():
		}
		return atOnce(value)(ctx, since)
	}
}

func TestDifferenceUsesValuesOfTheSameRound(t *testing.T) {
	const every = 10 * time.Second
	steps := func(plus float64) func(since time.Duration) (float64, error) {
		return func(since time.Duration) (float64, error) { return plus + 100*float64(since/every), nil }
	}
	got := followDerived(t, 30*time.Second, map[string]script{
		"a": slow(300*time.Millisecond, steps(20.3)), "b": slow(20*time.Millisecond, steps(20.2))},
		[]Spec{specOf("a", every), specOf("b", every),
			derivedSpec(Difference, Filter{}, Source{Stream: "a", Every: every}, Source{Stream: "b", Every: every})})
	wantLines(t, got, "300ms d 1 0.1", "10.3s d 2 0.1", "20.3s d 3 0.1")
}

func TestDerivedStreamHasTheIntervalOfItsSlowestSource(t *testing.T) {
	count := func(since time.Duration) (float64, error) { return since.Seconds(), nil }
	got := followDerived(t, 21*time.Second, map[string]script{
		"a": atOnce(count), "b": atOnce(func(time.Duration) (float64, error) { return 1000, nil })},
		[]Spec{specOf("a", time.Second), specOf("b", 10*time.Second),
			derivedSpec(Sum, Filter{}, Source{Stream: "a", Every: time.Second}, Source{Stream: "b", Every: 10 * time.Second})})
	var at []string
	for _, line := range got {
		when, _, _ := strings.Cut(line, " ")
		at = append(at, when)
	}
	if !slices.Equal(at, []string{"0s", "10s", "20s"}) {
		t.Errorf("got %q", got)
	}
}

// Filters work on a derived stream as on any other, and the report settings of the source have no
// effect on it.
func TestDerivedStreamHasItsOwnFilters(t *testing.T) {
	source := specOf("a", time.Second)
	source.Streams[0].Filter = Filter{Report: Report{AtLeast: time.Hour}}
	values := []float64{1, 2, 3, 90, 4}
	spec := derivedSpec(Sum, Filter{Valid: Valid{Max: new(50.0)}, Precision: new(0),
		Alarm: &Limit{At: 2.9, Clear: 2.9, Stream: Stream{Name: "d_alarm", Quantity: Quantity{States: AlarmStates}}}},
		Source{Stream: "a", Every: time.Second}, Source{Stream: "b"})
	next := func(since time.Duration) (float64, error) { return values[int(since/time.Second)], nil }
	got := followDerived(t, 5*time.Second, map[string]script{"a": atOnce(next), "b": once(0.4)},
		[]Spec{specOf("b", 0), source, spec})
	wantLines(t, got,
		"0s d_alarm 1 0 ok", "0s d 1 1", "1s d 2 2", "2s d_alarm 2 1 alarm", "2s d 3 3",
		"3s d 4 null 90.4 °C is above valid.max 50 °C", "4s d 5 4")
}

// once returns a value at the first call, and nothing later.
func once(v float64) script {
	asked := false
	return func(ctx context.Context, since time.Duration) ([]Sample, error) {
		if asked {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		asked = true
		return sample(v), nil
	}
}

func TestFaultOfASourceIsAFaultOfTheDerivedStream(t *testing.T) {
	flaky := func(since time.Duration) (float64, error) {
		if since >= 2*time.Second && since < 6*time.Second {
			return 0, errors.New("no acknowledge")
		}
		return 5, nil
	}
	source := specOf("a", time.Second)
	got := followDerived(t, 10*time.Second, map[string]script{"a": atOnce(flaky), "b": once(1)},
		[]Spec{specOf("b", 0), source, derivedSpec(Difference, Filter{Report: Report{Change: 1}},
			Source{Stream: "a", Every: time.Second}, Source{Stream: "b"})})
	if len(got) != 5 || got[0] != "0s d 1 4" || got[1] != "2s d 2 null a: no acknowledge" ||
		!strings.HasSuffix(got[2], `fault {"error":"a: no acknowledge","failures":3,"sensor":"d","stream":"d"}`) ||
		!strings.Contains(got[3]+got[4], "recovered") || !strings.Contains(got[3]+got[4], "d 3 4") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestSilentSourceIsAFailure(t *testing.T) {
	hangs := func(ctx context.Context, since time.Duration) ([]Sample, error) {
		if since >= 2*time.Second {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return sample(5), nil
	}
	one := func(time.Duration) (float64, error) { return 1, nil }
	got := followDerived(t, 8*time.Second, map[string]script{"a": atOnce(one)},
		[]Spec{specOf("a", time.Second), derivedSpec(Sum, Filter{},
			Source{Stream: "a", Every: time.Second}, Source{Stream: "b", Every: time.Second})})
	wantLines(t, got, "3s d 1 null b: no value yet",
		`5s fault {"error":"b: no value yet","failures":3,"sensor":"d","stream":"d"}`)
	got = followDerived(t, 6*time.Second, map[string]script{"a": hangs, "b": once(1)},
		[]Spec{specOf("b", 0), specOf("a", time.Second), derivedSpec(Sum, Filter{},
			Source{Stream: "a", Every: time.Second}, Source{Stream: "b"})})
	wantLines(t, got, "0s d 1 6", "1s d 2 6", "4s d 3 null a: no value for 3s")
}

// A stream that is derived from a derived one, and a reload that changes each of them.
func TestAReloadKeepsWhatDidNotChange(t *testing.T) {
	scripts := map[string]script{"a": atOnce(func(time.Duration) (float64, error) { return 1, nil }), "e": once(10)}
	a, e := Source{Stream: "a", Every: time.Second}, Source{Stream: "e"}
	first := derivedSpec(Sum, Filter{}, a, e)
	first.Name, first.Streams[0].Name = "c", "c"
	second := derivedSpec(Difference, Filter{}, Source{Stream: "c", Every: time.Second}, e)
	corrected := specOf("a", time.Second)
	corrected.Streams[0].Filter.Correction = Correction{Offset: 100}
	changed := derivedSpec(Sum, Filter{}, Source{Stream: "c", Every: time.Second}, e)
	got := followDerived(t, 2*time.Second, scripts,
		[]Spec{second, first, specOf("a", time.Second), specOf("e", 0)},
		[]Spec{second, first, corrected, specOf("e", 0)},  // a source changes, and the derived stream continues
		[]Spec{changed, first, corrected, specOf("e", 0)}, // e has no new value, and its old one counts
		[]Spec{corrected, specOf("e", 0)})
	var values []string
	for _, line := range got {
		_, value, _ := strings.Cut(line, " ")
		values = append(values, value)
	}
	want := []string{"d 1 1", "d 2 1", "d 3 101", "d 4 101", "d 5 121", "d 6 121"}
	if !slices.Equal(values, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgramWithoutAReaderUsesBoundedMemory(t *testing.T) {
	spec := derivedSpec(Sum, Filter{}, Source{Stream: "a"}, Source{Stream: "b"})
	d := newDerived(&spec, clock.NewTimekeeper(clock.TrustAlways))
	for i := range 3 * maxResults {
		d.addInput("a", measurement{value: float64(i)})
		d.addInput("b", measurement{value: 0.5})
	}
	samples, _ := d.samples()
	if len(samples) != maxResults || samples[maxResults-1].Value != 3*maxResults-0.5 {
		t.Errorf("%d samples, the last is %v", len(samples), samples[len(samples)-1].Value)
	}
	if again, _ := d.samples(); len(again) > 0 {
		t.Errorf("%d samples came twice", len(again))
	}
}

// A source without new values for a long time is not used when the other one comes back: the last
// value of b is of 1s.
func TestStaleValueIsNotUsed(t *testing.T) {
	const second = time.Second
	silent := func(from, until time.Duration) script {
		return func(_ context.Context, since time.Duration) ([]Sample, error) {
			if since >= from && since < until {
				return nil, nil // as a command that writes other quantities
			}
			return sample(5), nil
		}
	}
	got := followDerived(t, 64*second, map[string]script{"a": silent(second, 60*second), "b": silent(2*second, 62*second)},
		[]Spec{specOf("a", second), specOf("b", second), derivedSpec(Sum, Filter{},
			Source{Stream: "a", Every: second}, Source{Stream: "b", Every: second})})
	want := []string{"0s d 1 10", "3s d 2 null a: no value for 3s", "62s d 3 10", "63s d 4 10"}
	var readings []string
	for _, line := range got {
		if !strings.Contains(line, "fault") && !strings.Contains(line, "recovered") {
			readings = append(readings, strings.Replace(line, "1m", "6", 1))
		}
	}
	if !slices.Equal(readings, want) {
		t.Errorf("got %q, want %q", readings, want)
	}
}
