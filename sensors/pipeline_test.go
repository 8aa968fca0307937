package sensors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// freezer is a sensor with an alarm.
func freezer(every time.Duration, w Filter) Spec {
	if w.Alarm != nil {
		w.Alarm.Stream = Stream{Name: "freezer_alarm", Every: every, Priority: Alarm,
			Quantity: Quantity{Class: "problem", States: AlarmStates}}
	}
	pace := every
	if w.Average > 0 {
		pace /= time.Duration(w.Average)
	}
	return Spec{Name: "freezer", Every: pace, Streams: []Stream{{
		Name: "freezer", Every: every, Filter: w, Quantity: Quantity{Name: "q", Unit: "°C"}}}}
}

// wallTime returns the time of the wall clock.
func wallTime(s clock.Stamp) time.Time { return time.UnixMilli(s.Unix) }

// follow runs one sensor for less than a time, and returns its readings with the time since the start.
// The function returns each sample, by the time since the start.
func follow(t *testing.T, length time.Duration, spec Spec,
	next func(since time.Duration) ([]Sample, error)) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		say := func(what string, at clock.Stamp) {
			lines = append(lines, fmt.Sprintf("%v %s", wallTime(at).Sub(begin), what))
		}
		ctx, cancel := context.WithTimeout(t.Context(), length-1)
		defer cancel()
		Run(ctx, []Spec{spec}, Wiring{
			Open: func(context.Context, Spec) (Sensor, error) {
				return device{func(context.Context) ([]Sample, error) {
					return next(time.Since(begin))
				}, func() {}}, nil
			},
			Record: func(r Reading) {
				what := fmt.Sprintf("%v %s", r.Value, r.State)
				if r.Err != "" {
					what = "null " + r.Err
				}
				say(fmt.Sprintf("%s %d %v %s", r.Stream, r.Seq, r.Priority, strings.TrimSpace(what)), r.At)
			},
			Report: func(e Event) { say(e.Name+" "+string(e.Details), e.At) },
			Clock:  clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
		})
	})
	return lines
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("\ngot\n%s\nwant\n%s", g, w)
	}
}

func TestWarmFreezerGivesAnAlarmAndFewReadings(t *testing.T) {
	spec := freezer(30*time.Second, Filter{
		Valid:  Valid{Min: new(-60.0), Max: new(60.0)},
		Report: Report{Change: 5, AtLeast: 10 * time.Minute},
		Alarm:  &Limit{At: -15, Clear: -17, For: 5 * time.Minute},
	})
	got := follow(t, 32*time.Minute, spec, func(since time.Duration) ([]Sample, error) {
		switch m := since.Minutes(); {
		case m < 11:
			return sample(-20 + m/100), nil
		case m < 20:
			return sample(-14), nil // 11m to 16m: beyond for 5 minutes
		case m < 25:
			return sample(-16), nil // between the two limits
		}
		return sample(-17), nil
	})
	wantLines(t, got,
		"0s freezer_alarm 1 alarm 0 ok",
		"0s freezer 1 routine -20",
		"10m0s freezer 2 routine -19.9", // at least
		"11m0s freezer 3 routine -14",   // changed
		"16m0s freezer_alarm 2 alarm 1 alarm",
		"21m0s freezer 4 routine -16",
		"25m0s freezer_alarm 3 alarm 0 ok",
		"31m0s freezer 5 routine -17")
}

// TestAlarmAllowsSamplesSlightlyEarly: a measurement does not
// take the same time each time, so samples are some milliseconds closer than the interval.
func TestAlarmAllowsSamplesSlightlyEarly(t *testing.T) {
	for _, c := range []struct {
		hold time.Duration
		want string
	}{
		{20 * time.Minute, "30m0.001s"},
		{21 * time.Minute, "40m0.001s"}, // the sample before it is really too early
	} {
		spec := freezer(10*time.Minute, Filter{Report: Report{Change: 100},
			Alarm: &Limit{At: -15, Clear: -15, For: c.hold}})
		got := follow(t, time.Hour, spec, func(since time.Duration) ([]Sample, error) {
			if since < 10*time.Minute {
				return sample(-20), nil
			}
			if since == 10*time.Minute {
				time.Sleep(6 * time.Millisecond)
			} else {
				time.Sleep(time.Millisecond)
			}
			return sample(-14), nil
		})
		wantLines(t, got, "0s freezer_alarm 1 alarm 0 ok", "0s freezer 1 routine -20",
			c.want+" freezer_alarm 2 alarm 1 alarm")
	}
}

func TestDeadSensorClearsOkAndKeepsItsAlarm(t *testing.T) {
	spec := freezer(time.Minute, Filter{Alarm: &Limit{At: -15, Clear: -15}})
	got := follow(t, 5*time.Minute, spec, func(since time.Duration) ([]Sample, error) {
		switch {
		case since == time.Minute:
			return nil, errors.New("no acknowledge") // once
		case since >= 2*time.Minute && since < 150*time.Second:
			return nil, errors.New("no acknowledge")
		}
		return sample(-10), nil
	})
	wantLines(t, got,
		"0s freezer_alarm 1 alarm 1 alarm",
		"0s freezer 1 routine -10",
		"1m0s freezer 2 routine null no acknowledge",
		"1m1s freezer 3 routine -10", // late, not missing; and the alarm had nothing to add
		"2m0s freezer 4 routine null no acknowledge",
		`2m3s fault {"error":"no acknowledge","failures":3,"sensor":"freezer"}`,
		"2m3s freezer_alarm 2 alarm null no acknowledge",
		"2m30s freezer_alarm 3 alarm 1 alarm",
		"2m30s freezer 5 routine -10",
		`2m30s recovered {"after_s":30,"sensor":"freezer"}`,
		"3m0s freezer 6 routine -10", // on the tick again
		"4m0s freezer 7 routine -10")
}

func TestGarbledQuantityIsAFaultOfItsStream(t *testing.T) {
	spec := freezer(time.Hour, Filter{Valid: Valid{Max: new(60.0)}})
	got := follow(t, time.Hour, spec, func(since time.Duration) ([]Sample, error) {
		if since < 20*time.Second {
			return sample(85), nil
		}
		return sample(-20), nil
	})
	wantLines(t, got,
		"0s freezer 1 routine null 85 °C is above valid.max 60 °C",
		`3s fault {"error":"85 °C is above valid.max 60 °C","failures":3,"sensor":"freezer","stream":"freezer"}`,
		"30s freezer 2 routine -20", // after 1, 2, 4, 8 and 15 s
		`30s recovered {"after_s":30,"sensor":"freezer","stream":"freezer"}`)
}

func TestConfirmedClockStepIsReportedWithinASecond(t *testing.T) {
	spec := freezer(time.Hour, Filter{Valid: Valid{Jump: 5}})
	got := follow(t, 2*time.Hour, spec, func(since time.Duration) ([]Sample, error) {
		return sample(20 * since.Truncate(time.Hour).Hours()), nil
	})
	wantLines(t, got,
		"0s freezer 1 routine 0",
		"1h0m0s freezer 2 routine null 20 °C is a jump from 0 °C beyond valid.jump 5 °C: refused unless the next "+
			"sample confirms it",
		"1h0m1s freezer 3 routine 20")
}

func TestAverageSamplesEvenlyWithoutFailures(t *testing.T) {
	spec := freezer(30*time.Second, Filter{Average: 5})
	got := follow(t, 3*time.Minute, spec, func(since time.Duration) ([]Sample, error) {
		switch {
		case since == 12*time.Second:
			return []Sample{{Quantity: "q", Err: errors.New("skipped")}}, nil
		case since >= 60*time.Second && since < 125*time.Second:
			return nil, errors.New("no acknowledge")
		}
		return sample(since.Seconds()), nil
	})
	wantLines(t, got,
		"24s freezer 1 routine 12.2", // 0, 6, 13 in place of 12, 18, 24
		"54s freezer 2 routine 42",
		`1m3s fault {"error":"no acknowledge","failures":3,"sensor":"freezer"}`,
		"1m30s freezer 3 routine null no acknowledge", // none of the span was good
		`2m15s recovered {"after_s":75,"sensor":"freezer"}`,
		"2m24s freezer 4 routine 139", // 135, 138, 144
		"2m54s freezer 5 routine 162")
}

func TestDriverEventsNameTheirStream(t *testing.T) {
	n := 0
	got := follow(t, 2*time.Second, freezer(time.Second, Filter{}), func(time.Duration) ([]Sample, error) {
		if n++; n == 1 {
			return []Sample{{Quantity: "q", Ago: 500 * time.Millisecond,
				Event: &Event{Name: "flapping", Details: json.RawMessage(`{"edges":40}`)}},
				{Quantity: "q", Ago: 250 * time.Millisecond, Value: 1}}, nil
		}
		return []Sample{{Event: &Event{Name: "flapping"}}}, nil
	})
	wantLines(t, got,
		`-500ms flapping {"edges":40,"sensor":"freezer","stream":"freezer"}`,
		"-250ms freezer 1 routine 1",
		`1s flapping {"sensor":"freezer"}`)
}
