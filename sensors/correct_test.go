package sensors

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The expected values were computed by hand with decimal fractions.
func TestCorrectionIsExactInDecimals(t *testing.T) {
	tank := Correction{Points: []Point{{0.5, 0}, {99.1, 100}}}
	falling := Correction{Points: []Point{{0.5, 80}, {1.5, 20}, {2.5, -10}}}
	for _, c := range []struct {
		name        string
		correction  Correction
		reads, want float64
	}{
		{"nothing", Correction{}, 45.2, 45.2},
		{"offset", Correction{Offset: -0.4}, 20.3, 19.9},
		{"scale before offset", Correction{Scale: 1.02, Offset: -0.4}, 45.2, 45.704},
		{"a sensor wired the other way round", Correction{Scale: -1, Offset: 100}, 30.1, 69.9},
		{"a large meter", Correction{Offset: 0.001}, 1431649.718, 1431649.719},
		{"at the first point", tank, 0.5, 0},
		{"in the middle", tank, 49.8, 50}, // 49.3 of 98.6
		{"at the last point", tank, 99.1, 100},
		{"above the last point", tank, 100.086, 101},
		{"below the first point", tank, -0.486, -1},
		{"falling, above the first", falling, 0, 110},
		{"falling, first line", falling, 1, 50},
		{"falling, where lines meet", falling, 1.5, 20},
		{"falling, second line", falling, 2, 5},
		{"falling, below the last", falling, 3, -25},
		{"too large for a number", Correction{Scale: 10}, math.MaxFloat64, math.Inf(1)},
		{"no number", Correction{Offset: 1}, math.Inf(-1), math.Inf(-1)},
	} {
		if got := newCorrector(c.correction).correct(c.reads); got != c.want {
			t.Errorf("%s: %v is corrected to %v, want %v", c.name, c.reads, got, c.want)
		}
	}
	if got := newCorrector(tank).correct(math.NaN()); !math.IsNaN(got) {
		t.Errorf("NaN is corrected to %v", got)
	}
}

// drawPoints draws a calibration that rises or falls, with decimal fractions.
func drawPoints(t *rapid.T) (points []Point, side float64) {
	side = rapid.SampledFrom([]float64{1, -1}).Draw(t, "side")
	draw := func(name string) float64 { return float64(rapid.IntRange(1, 1e6).Draw(t, name)) / 1000 }
	reads, is := -draw("reads"), -draw("is")
	for range rapid.IntRange(2, 9).Draw(t, "points") {
		points = append(points, Point{reads, side * is})
		reads, is = reads+draw("run"), is+draw("rise")
	}
	return points, side
}

func TestCalibrationHitsItsPointsAndIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points, side := drawPoints(t)
		c := newCorrector(Correction{Points: points})
		for _, p := range points {
			if got := c.correct(p.Reads); got != p.Is {
				t.Fatalf("%v: %v is corrected to %v, want %v", points, p.Reads, got, p.Is)
			}
		}
		values := rapid.SliceOfN(rapid.Float64Range(-2000, 12000), 2, 20).Draw(t, "values")
		slices.Sort(values)
		for i, v := range values[1:] {
			if before, after := c.correct(values[i]), c.correct(v); side*after < side*before {
				t.Fatalf("%v: %v is %v and %v is %v", points, values[i], before, v, after)
			}
		}
	})
}

func TestPrecisionRoundsDecimalDigits(t *testing.T) {
	for _, c := range []struct {
		v      float64
		places int
		want   float64
	}{
		{45.199999, 1, 45.2}, {45.25, 1, 45.3}, {2.675, 2, 2.68}, {-2.675, 2, -2.68}, {1.005, 2, 1.01}, {0.05, 1, 0.1},
		{9.995, 2, 10}, {0.5, 0, 1}, {1.5, 0, 2}, {-0.5, 0, -1}, {0.449, 0, 0}, {45, 3, 45}, {1431649.718, 2, 1431649.72},
		{1e-9, 9, 1e-9}, {4e-10, 9, 0}, {math.MaxFloat64, 0, math.MaxFloat64}, {4503599627370495.5, 0, 4503599627370496},
		{math.Inf(1), 2, math.Inf(1)},
	} {
		if got := round(c.v, c.places); got != c.want {
			t.Errorf("%v with %d decimal places is %v, want %v", c.v, c.places, got, c.want)
		}
	}
	if got := round(-0.04, 1); got != 0 || math.Signbit(got) {
		t.Errorf("-0.04 with one decimal place is %v, want 0", got)
	}
}

// The model rounds exact fractions, without a binary form in between.
func TestPrecisionIsHalfAUnitAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, places := drawValue(t), rapid.IntRange(0, 9).Draw(t, "places")
		got := round(v, places)
		if n := placesOf(strconv.FormatFloat(got, 'f', -1, 64)); n > places {
			t.Fatalf("%v with %d decimal places is %v", v, places, got)
		}
		unit := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil))
		want := new(big.Rat).Quo(decimal(v), unit)
		half := big.NewRat(int64(want.Sign()), 2)
		want.Add(want, half)
		whole := new(big.Int).Quo(want.Num(), want.Denom()) // towards zero: with the half, to the nearest
		exact, _ := new(big.Rat).Mul(new(big.Rat).SetInt(whole), unit).Float64()
		if got != exact {
			t.Fatalf("%v with %d decimal places is %v, want %v", v, places, got, exact)
		}
	})
}

func TestMedianIgnoresFailedSamples(t *testing.T) {
	const fails = math.MaxFloat64
	for _, c := range []struct {
		name    string
		samples []float64
		want    string
	}{
		{"odd", []float64{20.3, 85, 20.1}, "20.3"},
		{"even", []float64{20.3, 85, 20.1, -127}, "20.2"},
		{"even, one digit more", []float64{20.2, 20.3}, "20.25"},
		{"one failed", []float64{20.3, fails, 20.1}, "20.2"},
		{"two failed", []float64{fails, 20.1, fails}, "20.1"},
		{"all failed", []float64{fails, fails, fails}, "null failed at 2"},
	} {
		n := len(c.samples)
		every := time.Duration(n) * time.Second
		spec := freezer(every, Filter{Median: n})
		spec.Every = time.Second
		i := -1
		got := follow(t, every, spec, func(time.Duration) ([]Sample, error) {
			if i++; c.samples[i] == fails {
				return []Sample{{Quantity: "q", Err: errors.New("failed at " + strconv.Itoa(i))}}, nil
			}
			return sample(c.samples[i]), nil
		})
		var readings []string
		for _, line := range got {
			if _, value, ok := cutReading(line); ok {
				readings = append(readings, value)
			}
		}
		if !slices.Equal(readings, []string{c.want}) {
			t.Errorf("%s: readings %q, want %s", c.name, readings, c.want)
		}
	}
}

// cutReading returns the value in a line of follow, if it is a reading.
func cutReading(line string) (at, value string, ok bool) {
	at, rest, _ := strings.Cut(line, " ")
	name, rest, _ := strings.Cut(rest, " ")
	_, rest, _ = strings.Cut(rest, " ") // the number
	_, value, ok = strings.Cut(rest, " ")
	return at, value, ok && name == "freezer"
}

// The order of the stages: limits, alarms and reports use the corrected value, and the published
// value is rounded.
func TestCorrectionComesFirstAndPrecisionLast(t *testing.T) {
	reads := []float64{10.01, 10.04, 10.09, 30, 10.1}
	n := -1
	spec := freezer(time.Second, Filter{
		Correction: Correction{Scale: 2, Offset: -1},
		Valid:      Valid{Max: new(50.0)},
		Alarm:      &Limit{At: 19.15, Clear: 19.15},
		Report:     Report{AtLeast: time.Hour},
		Precision:  new(1),
	})
	got := follow(t, 5*time.Second, spec, func(time.Duration) ([]Sample, error) {
		n++
		return sample(reads[n]), nil
	})
	wantLines(t, got,
		"0s freezer_alarm 1 alarm 0 ok",
		"0s freezer 1 routine 19",   // 19.02
		"1s freezer 2 routine 19.1", // 19.08
		"2s freezer_alarm 2 alarm 1 alarm",
		"2s freezer 3 routine 19.2", // 19.18
		"3s freezer 4 routine null 59 °C is above valid.max 50 °C",
		"4s freezer 5 routine 19.2")
}

func TestMeanIsRoundedOnce(t *testing.T) {
	samples := []float64{0.4, 0.4, 0.5, 0.4, 0.5, 0.5, 0.5, 0.4, 0.445} // their mean is 0.44944...
	n := -1
	spec := freezer(9*time.Second, Filter{Average: len(samples), Precision: new(0)})
	got := follow(t, 9*time.Second, spec, func(time.Duration) ([]Sample, error) {
		n++
		return sample(samples[n]), nil
	})
	wantLines(t, got, "8s freezer 1 routine 0")
}

func TestCorrectedValueIsPublished(t *testing.T) {
	f := Filter{Correction: Correction{Scale: 1.02, Offset: -0.4}, Precision: new(1)}
	if got := f.Rounded(f.Corrected(45.2)); got != 45.7 {
		t.Errorf("45.2 is %v, want 45.7", got)
	}
	if got := (Filter{}).Rounded(math.Copysign(0, -1)); math.Signbit(got) {
		t.Errorf("-0 is published as %v", got)
	}
}

func BenchmarkCorrect(b *testing.B) {
	c := newCorrector(Correction{Points: []Point{{0.5, 0}, {50.3, 51.2}, {99.1, 100}}})
	b.ReportAllocs()
	for b.Loop() {
		c.correct(45.27)
	}
}
