package drivers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

func openSimulated(t testing.TB, o *simulatedOptions) sensors.Sensor {
	t.Helper()
	if p := o.Check(); p != nil {
		t.Fatal(p)
	}
	s, err := o.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func next(t testing.TB, s sensors.Sensor) sensors.Sample {
	t.Helper()
	got, err := s.Next(t.Context())
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	return got[0]
}

func TestWaveIsASine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSimulated(t, &simulatedOptions{Wave: &wave{"humidity", "%", 45, 10, time.Hour}})
		for _, want := range []float64{45, 50, 53.66, 55, 53.66, 50, 45, 40, 36.34, 35} { // each 1/12 of a period
			if got := next(t, s); got != (sensors.Sample{Quantity: "humidity", Value: want}) {
				t.Errorf("%+v, want %v", got, want)
			}
			time.Sleep(5 * time.Minute)
		}
	})
}

func TestStepsCycleWithoutDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		states := []string{"closed", "ajar", "open"}
		s, start := openSimulated(t, &simulatedOptions{Steps: &steps{states, 700 * time.Millisecond}}), time.Now()
		for i := range 10 {
			if got := next(t, s); got != (sensors.Sample{Quantity: "state", Value: float64(i % 3)}) {
				t.Errorf("%d: %+v", i, got)
			}
			if at := time.Since(start); at != time.Duration(i)*700*time.Millisecond {
				t.Errorf("%d: at %v", i, at)
			}
			time.Sleep(100 * time.Millisecond) // what is done with it
		}
	})
}

func TestStepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSimulated(t, &simulatedOptions{Steps: &steps{[]string{"off", "on"}, time.Hour}})
		next(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Error(err, time.Since(start))
		}
	})
}

func TestCounterContinuesDuringFailures(t *testing.T) {
	s := openSimulated(t, &simulatedOptions{Counter: &struct{}{}, Fail: &fail{20}})
	for i := 1; i <= 60; i++ {
		got, want := next(t, s), sensors.Sample{Quantity: "count", Value: float64(i)}
		if i%20 == 0 {
			want.Value, want.Err = 0, errSimulated
		}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestSimulatedOptionsSayWhatIsWrong(t *testing.T) {
	w := &wave{"humidity", "%", 45, 10, time.Hour}
	s := &steps{[]string{"off", "on"}, time.Second}
	for want, o := range map[string]*simulatedOptions{
		"":              {Wave: w, Steps: s},
		"wave.quantity": {Wave: &wave{Period: time.Hour}},
		"wave.period":   {Wave: &wave{Quantity: "x"}},
		"steps.states":  {Steps: &steps{[]string{"on"}, time.Second}},
		"steps.every":   {Steps: &steps{[]string{"off", "on"}, -1}},
		"fail.every":    {Wave: w, Fail: &fail{}},
	} {
		if p := o.Check(); len(p) != 1 || p[0].Key != want {
			t.Errorf("%s: %v", want, p)
		}
	}
	for _, o := range []*simulatedOptions{{}, {Steps: &steps{[]string{"on", "on"}, time.Second}}} {
		if p := o.Check(); len(p) != 1 {
			t.Errorf("%+v: %v", o, p)
		}
	}
}

func TestOnlyStepsPaceThemselves(t *testing.T) {
	for want, o := range map[time.Duration]*simulatedOptions{0: {Steps: &steps{}}, time.Second: {Wave: &wave{}}} {
		if got := o.Pace(); got != want {
			t.Error(got, want)
		}
	}
}

func TestLargeWaveIsFinite(t *testing.T) {
	for _, mean := range []float64{1e307, 9007199254740991, 1431649.72} {
		s := openSimulated(t, &simulatedOptions{Wave: &wave{"energy", "kWh", mean, 0, time.Hour}})
		if got := next(t, s).Value; got != mean {
			t.Errorf("%v, want %v", got, mean)
		}
	}
}
