package sensors

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawValue is what a sensor can measure: mostly decimal fractions and counters.
func drawValue(t *rapid.T) float64 {
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "any")
	case 1:
		return float64(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "count"))
	}
	places := rapid.IntRange(0, 9).Draw(t, "places")
	return float64(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "digits")) / math.Pow10(places)
}

func TestSingleSampleIsPublishedUnchanged(t *testing.T) {
	values := []float64{1431649.718, 100000001, 100000002, 100000003, 52.5200066, 1e-9, math.MaxFloat64, 0}
	for average := range 2 { // without it, and with `average: 1`
		n := -1
		got := follow(t, time.Duration(len(values))*time.Second, freezer(time.Second, Filter{Average: average}),
			func(time.Duration) ([]Sample, error) { n++; return sample(values[n]), nil })
		var want []string
		for i, v := range values {
			want = append(want, fmt.Sprintf("%v freezer %d routine %v", time.Duration(i)*time.Second, i+1, v))
		}
		wantLines(t, got, want...)
	}
}

func TestCountersThatDifferByOneAreDifferentReadings(t *testing.T) {
	n := 0.0
	got := follow(t, 3*time.Second, freezer(time.Second, Filter{Report: Report{Change: 1}}),
		func(time.Duration) ([]Sample, error) { n++; return sample(100000000 + n), nil })
	wantLines(t, got,
		"0s freezer 1 routine 1.00000001e+08",
		"1s freezer 2 routine 1.00000002e+08",
		"2s freezer 3 routine 1.00000003e+08")
}

func TestAlarmComparesTheUnroundedValue(t *testing.T) {
	for name, c := range map[string]struct {
		average int
		limit   Limit
		samples []float64
		want    string
	}{
		"a counter":            {1, Limit{At: 10000000, Clear: 10000000}, []float64{10000004}, "alarm"},
		"at the limit":         {1, Limit{At: 10000000, Clear: 10000000}, []float64{10000000}, "ok"},
		"a mean above":         {3, Limit{At: 15, Clear: 15}, []float64{15, 15, 15.1}, "alarm"},
		"above by less":        {3, Limit{At: 15.03, Clear: 15.03}, []float64{15, 15, 15.1}, "alarm"},
		"a mean at the limit":  {2, Limit{At: 20.3, Clear: 20.3}, []float64{20.2, 20.4}, "ok"},
		"thirds at the limit":  {3, Limit{At: 0.1, Clear: 0.1}, []float64{0.1, 0.1, 0.1}, "ok"},
		"below, at the limit":  {3, Limit{At: 0.1, Clear: 0.1, Below: true}, []float64{0.1, 0.1, 0.1}, "ok"},
		"below the limit":      {3, Limit{At: -15, Clear: -15, Below: true}, []float64{-15, -15, -15.1}, "alarm"},
		"a mean of large ones": {2, Limit{At: 1e308, Clear: 1e308}, []float64{1.7e308, 1.7e308}, "alarm"},
	} {
		n := -1
		spec := freezer(time.Duration(c.average)*time.Second, Filter{Average: c.average, Alarm: &c.limit})
		got := follow(t, time.Duration(c.average)*time.Second, spec, func(time.Duration) ([]Sample, error) {
			n++
			return sample(c.samples[n]), nil
		})
		if len(got) == 0 || !strings.HasSuffix(got[0], c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// The model of a mean computes with fractions.
func TestMeanIsExactWithOneMoreDigit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Custom(drawValue), 2, 20).Draw(t, "values")
		sum, finest := new(big.Rat), 0
		for _, v := range values {
			x, _ := new(big.Rat).SetString(strconv.FormatFloat(v, 'f', -1, 64))
			sum.Add(sum, x)
			finest = max(finest, placesOf(strconv.FormatFloat(v, 'f', -1, 64)))
		}
		exact := sum.Quo(sum, big.NewRat(int64(len(values)), 1))
		want, _ := exact.Float64()
		got := averageOf(values)
		if got.value != want {
			t.Fatalf("the mean of %v is %v, want %v", values, got.value, want)
		}
		if placesOf(strconv.FormatFloat(got.rounded, 'f', -1, 64)) > finest+1 {
			t.Fatalf("%v has more than one decimal place more than %v", got.rounded, values)
		}
		tens := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(finest+1)), nil)
		half := new(big.Rat).Quo(big.NewRat(1, 2), new(big.Rat).SetInt(tens))
		off := new(big.Rat).Sub(new(big.Rat).SetFloat64(got.rounded), new(big.Rat).SetFloat64(got.value))
		ulp := new(big.Rat).SetFloat64(math.Abs(got.value) / (1 << 52))
		if off.Abs(off).Cmp(half.Add(half, ulp)) > 0 {
			t.Fatalf("%v is not %v with %d decimal places", got.rounded, got.value, finest+1)
		}
	})
}

// Limits are exact for values of any size.
func TestDifferencesCompareWithThePrecisionOfValues(t *testing.T) {
	for _, c := range []struct{ from, to, limit float64 }{
		{20, 20.3, 0.3}, {1431649.718, 1431649.719, 0.001}, {9007199254740990, 9007199254740991, 1},
		{0, 1e-12, 1e-12}, {0.1, 0.3, 0.2},
	} {
		for _, moved := range []struct {
			by            float64
			changed, jump bool
		}{{0, false, false}, {1, true, false}, {1.5, true, true}, {0.5, false, false}} {
			to := c.from + moved.by*(c.to-c.from)
			if moved.by == 1 {
				to = c.to
			} else if math.Mod(moved.by, 1) != 0 && c.from > 1e15 {
				continue // there is nothing between two such numbers
			}
			r := reported{Report: Report{Change: c.limit}}
			r.shouldReport(averageOf([]float64{c.from}), midnight)
			if got := r.shouldReport(averageOf([]float64{to}), midnight); got != moved.changed {
				t.Errorf("%v from %v with change %v: %v", to, c.from, c.limit, got)
			}
			p := validator{Valid: Valid{Jump: c.limit}}
			p.check(c.from)
			if got := p.check(to) != nil; got != moved.jump {
				t.Errorf("%v from %v with jump %v: refused %v", to, c.from, c.limit, got)
			}
		}
	}
}

// The state after a failure is a value again, changed or not.
func TestFirstValueAfterAFailureIsReported(t *testing.T) {
	spec := freezer(time.Minute, Filter{Report: Report{Change: 5}})
	got := follow(t, 5*time.Minute, spec, func(since time.Duration) ([]Sample, error) {
		if since == 2*time.Minute {
			return []Sample{{Quantity: "q", Err: errors.New("skipped")}}, nil
		}
		return sample(-20), nil
	})
	wantLines(t, got,
		"0s freezer 1 routine -20",
		"2m0s freezer 2 routine null skipped",
		"2m1s freezer 3 routine -20")
}

func TestStateIsAWholeNumber(t *testing.T) {
	q := Quantity{States: []string{"closed", "open"}}
	for v, want := range map[float64]string{0: "closed", 1: "open", 0.5: "", 1.5: "", 2: "", -1: "", -0.5: "",
		math.Inf(1): ""} {
		if got := q.Word(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
