package sensors

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var midnight = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func TestImplausibleValuesAreFailedReadsWithTheValueInTheError(t *testing.T) {
	p := validator{Valid: Valid{Min: new(-60.0), Max: new(60.0)}, unit: "°C"}
	for v, want := range map[float64]string{
		85:          "85 °C is above valid.max 60 °C",
		-127:        "-127 °C is below valid.min -60 °C",
		math.NaN():  "the sensor returned NaN, not a number",
		math.Inf(1): "the sensor returned +Inf, not a number",
		60:          "<nil>",
		-60:         "<nil>",
	} {
		if got := fmt.Sprint(p.check(v)); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	bare := validator{Valid: Valid{Max: new(1.5)}}
	if got := fmt.Sprint(bare.check(2)); got != "2 is above valid.max 1.5" {
		t.Error(got)
	}
}

// The next sample distinguishes a step from a spike.
func TestJumpIsRejectedUntilTheNextReadingConfirmsIt(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		good   string // g: accepted, x: rejected
	}{
		"a spike":                 {[]float64{-20, -20.5, 30, -20.4, -20}, "ggxgg"},
		"a door that was opened":  {[]float64{-20, 2, 3, 4}, "gxgg"},
		"noise is never believed": {[]float64{0, 50, -50, 100, 20}, "gxxxx"},
		"a spike confirms none":   {[]float64{0, 50, 1, 51, 1}, "gxgxg"},
		"five is no jump, more is": {[]float64{20.3, 25.3, 20.3, 15.3, 10.2, 10},
			"ggggxg"},
	} {
		p, got := validator{Valid: Valid{Jump: 5}}, ""
		for _, v := range c.values {
			if p.check(v) == nil {
				got += "g"
			} else {
				got += "x"
			}
		}
		if got != c.good {
			t.Errorf("%s: %v: %s, want %s", name, c.values, got, c.good)
		}
	}
}

func TestRejectedJumpNamesTheOldValue(t *testing.T) {
	p := validator{Valid: Valid{Jump: 5}, unit: "°C"}
	p.check(-20)
	want := "30.5 °C is a jump from -20 °C beyond valid.jump 5 °C: refused unless the next sample confirms it"
	if got := fmt.Sprint(p.check(30.5)); got != want {
		t.Error(got)
	}
}

func TestAverageIgnoresFailedSamples(t *testing.T) {
	m := window{samples: 5, span: 30 * time.Second}
	var got []string
	for i, c := range []string{
		"1", "2", "3", "4", "5", // their mean
		"10", "x", "x", "20", "x", // of two
		"x", "x", "x", "x", "x", // none
		"20.33", "20.34", "20.34", "x", "x",
	} {
		v, err := 0.0, error(nil)
		if _, scan := fmt.Sscan(c, &v); scan != nil {
			err = fmt.Errorf("failed at %d", i)
		}
		if mean, failed, done := m.add(v, err, midnight.Add(time.Duration(i)*6*time.Second)); done {
			got = append(got, strings.TrimSpace(fmt.Sprint(i, ": ", mean.rounded, " ", failed)))
		}
	}
	want := "[4: 3 <nil> 9: 15 <nil> 14: 0 failed at 14 19: 20.337 <nil>]"
	if fmt.Sprint(got) != want {
		t.Errorf("\ngot  %v\nwant %v", got, want)
	}
}

// Samples that are late or early, up to half a step, never move the readings.
func TestSpansStayInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 9).Draw(t, "n")
		step := time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond
		span := step * time.Duration(n)
		m := window{samples: n, span: span}
		sum := 0.0
		for tick := range rapid.IntRange(1, 60).Draw(t, "ticks") {
			at := midnight.Add(time.Duration(tick) * step)
			if tick > 0 {
				jitter := max(1, int(step/2)-1)
				at = at.Add(time.Duration(rapid.IntRange(-jitter, jitter).Draw(t, "jitter")))
			}
			v := rapid.Float64Range(-100, 100).Draw(t, "v")
			sum += v
			got, failed, done := m.add(v, nil, at)
			if last := tick%n == n-1; done != last || failed != nil {
				t.Fatalf("tick %d of %d: done %v, %v", tick, n, done, failed)
			}
			if done {
				if math.Abs(got.value-sum/float64(n)) > 1e-12 {
					t.Fatalf("mean %v, want %v", got.value, sum/float64(n))
				}
				sum = 0
			}
		}
	})
}

func TestSensorGivesOneReadingAfterALongPause(t *testing.T) {
	m := window{samples: 5, span: 5 * time.Millisecond}
	m.add(1, nil, midnight)
	begin := midnight.Add(24 * time.Hour) // 17 million spans later
	if v, _, done := m.add(3, nil, begin); !done || v.value != 2 {
		t.Errorf("%v, %v", v, done)
	}
	if _, _, done := m.add(3, nil, begin.Add(time.Millisecond)); done {
		t.Error("the next span was over at once")
	}
}

// The model of report follows the documentation.
func TestReportRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.IntRange(0, 60).Draw(t, "every")) * time.Second
		r := reported{every: every, Report: Report{
			Change:  float64(rapid.IntRange(0, 30).Draw(t, "change")) / 10,
			AtLeast: time.Duration(rapid.IntRange(0, 600).Draw(t, "at least")) * time.Second,
		}}
		at, tenths := midnight, 0
		var lastAt time.Time
		lastTenths, said := 0, false
		for range rapid.IntRange(1, 100).Draw(t, "samples") {
			at = at.Add(max(time.Second, every))
			tenths += rapid.IntRange(-20, 20).Draw(t, "step") // whole tenths: no rounding in the model
			if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
				r.forget()
				said = false
			}
			moved := max(tenths-lastTenths, lastTenths-tenths)
			want := !said || r.Report == Report{} ||
				moved != 0 && moved >= int(math.Round(r.Change*10)) ||
				r.AtLeast > 0 && at.Sub(lastAt) >= r.AtLeast-every/2
			if got := r.shouldReport(averageOf([]float64{float64(tenths) / 10}), at); got != want {
				t.Fatalf("%v from %v, %v later, of %+v: %v, want %v", tenths, lastTenths, at.Sub(lastAt), r.Report, got,
					want)
			}
			if want {
				said, lastTenths, lastAt = true, tenths, at
			}
		}
	})
}

func TestDecimalFractionsCompareExactly(t *testing.T) {
	r := reported{Report: Report{Change: 0.3}}
	for _, c := range []struct {
		v    float64
		want bool
	}{{20, true}, {20.3, true}, {20.6, true}, {20.3, true}, {20.59, false}, {20, true}, {-0.1, true}, {0.2, true},
		{0.49, false}} {
		if got := r.shouldReport(averageOf([]float64{c.v}), midnight); got != c.want {
			t.Errorf("%v: %v", c.v, got)
		}
	}
}

// The model keeps the whole history and evaluates all of it each time.
func TestAlarmMatchesAModelOfItsHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		below := rapid.Bool().Draw(t, "below")
		clear := -rapid.IntRange(0, 5).Draw(t, "clear")
		hold := time.Duration(rapid.IntRange(0, 10).Draw(t, "for")) * time.Minute
		side := 1.0 // with below, everything upside down
		if below {
			side = -1
		}
		a := alarm{Limit: Limit{Below: below, Clear: side * float64(clear), For: hold}}
		type past struct {
			v  int
			at time.Time
		}
		var since []past // since the alarm changed or the source was lost
		on, fresh, lost := false, true, false
		at := midnight
		for range rapid.IntRange(1, 80).Draw(t, "samples") {
			at = at.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "s")) * time.Second)
			if rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
				if changed := a.lost(); changed != !lost {
					t.Fatalf("lost is changed: %v", changed)
				}
				fresh, lost, since = true, true, nil
				continue
			}
			v := rapid.IntRange(-8, 8).Draw(t, "v")
			since = append(since, past{v, at})
			first := len(since) // of the samples that are beyond without a break until now
			for first > 0 && since[first-1].v > 0 {
				first--
			}
			now := on
			switch {
			case on:
				now = v > clear
			case v > 0:
				now = at.Sub(since[first].at) >= hold
			}
			gotOn, changed := a.evaluate(side*float64(v), at)
			if gotOn != now || changed != (fresh || now != on) {
				t.Fatalf("%v: %v, changed %v; want %v, %v", since, gotOn, changed, now, fresh || now != on)
			}
			if now != on {
				since = nil
			}
			on, fresh, lost = now, false, false
		}
	})
}

func TestFaultIsReportedOnceAfterThreeFailures(t *testing.T) {
	var tr faults
	got := ""
	for i, c := range "ff.ffff.f." {
		at := midnight.Add(time.Duration(i) * time.Second)
		if c == '.' {
			lasted, fault := tr.reset(at)
			got += fmt.Sprint(" ", lasted, fault)
			continue
		}
		tr.fail(at)
		if tr.becameFault() {
			got += " fault"
		}
	}
	if want := " 2s false fault 4s true 1s false"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
