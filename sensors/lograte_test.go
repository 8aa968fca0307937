package sensors

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// logOf is the log of one sensor with the streams q and r that runs for less than
// a time; and how many events it has reported.
func logOf(t *testing.T, length, every time.Duration, next func(n int) ([]Sample, error)) (lines []string, events int) {
	t.Helper()
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), length-1)
		defer cancel()
		n := 0
		spec := Spec{Name: "flaky", Every: every, Streams: []Stream{
			{Name: "a", Every: every, Quantity: Quantity{Name: "q"}},
			{Name: "b", Every: every, Quantity: Quantity{Name: "r"}}}}
		Run(ctx, []Spec{spec}, Wiring{
			Open: func(context.Context, Spec) (Sensor, error) {
				return device{func(context.Context) ([]Sample, error) { n++; return next(n) }, func() {}}, nil
			},
			Record: func(Reading) {},
			Report: func(Event) { events++ },
			Clock:  clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
	})
	return strings.Split(strings.TrimSpace(log.String()), "\n"), events
}

// with returns the lines that contain a text.
func with(lines []string, text string) (found []string) {
	for _, l := range lines {
		if strings.Contains(l, text) {
			found = append(found, l)
		}
	}
	return found
}

var timesForm = regexp.MustCompile(` times=([0-9]+) `)

// counted returns the sum of the counts in the lines.
func counted(t *testing.T, lines []string) (sum int) {
	t.Helper()
	for _, l := range lines {
		m := timesForm.FindStringSubmatch(l)
		if m == nil {
			t.Fatal(l)
		}
		n, _ := strconv.Atoi(m[1])
		sum += n
	}
	return sum
}

func TestRepeatedSensorFailuresAreCounted(t *testing.T) {
	failures := 0
	lines, _ := logOf(t, 3*time.Hour, time.Second, func(n int) ([]Sample, error) {
		if n%20 == 0 {
			failures++
			return nil, errors.New("no acknowledge")
		}
		return []Sample{{Quantity: "q"}, {Quantity: "r"}}, nil
	})
	fails, back := with(lines, `"sensor fails"`), with(lines, `"sensor answers again"`)
	if len(fails) != 3 || len(back) != 3 || len(with(lines, "again and again")) != 1 || len(lines) > 12 {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	hours := with(lines, `"sensor has failed"`)
	got := counted(t, hours)
	if got != failures || len(hours) != 3 || !strings.Contains(hours[0], `last="no acknowledge"`) {
		t.Errorf("counted %d of %d:\n%s", got, failures, strings.Join(hours, "\n"))
	}
}

func TestRepeatedQuantityFailuresAreCounted(t *testing.T) {
	failures := 0
	lines, _ := logOf(t, 2*time.Hour, time.Second, func(n int) ([]Sample, error) {
		if n%20 == 0 {
			failures++
			return []Sample{{Quantity: "q"}, {Quantity: "r", Err: errors.New("skipped")}}, nil
		}
		return []Sample{{Quantity: "q"}, {Quantity: "r"}}, nil
	})
	if len(with(lines, `"quantity fails"`)) != 3 || len(with(lines, `"quantity is back"`)) != 3 || len(lines) > 10 ||
		counted(t, with(lines, `"quantity has failed"`)) != failures {
		t.Errorf("%d failures, %d lines:\n%s", failures, len(lines), strings.Join(lines, "\n"))
	}
}

// Faults that come and go are all reported, and the log has a few of them.
func TestIntermittentFaultsAreCountedInTheLog(t *testing.T) {
	faults := 0
	lines, events := logOf(t, 2*time.Hour, time.Minute, func(n int) ([]Sample, error) {
		if n%8 < 3 { // three in a row are a fault
			if n%8 == 2 {
				faults++
			}
			return nil, errors.New("no acknowledge")
		}
		return []Sample{{Quantity: "q"}}, nil
	})
	if events < 2*(faults-1) || faults < 15 { // the first had two only
		t.Errorf("%d events of %d faults", events, faults)
	}
	if n := len(with(lines, "event=fault ")); n > 3+1+2 || n < 3 || len(lines) > 30 {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}

// A sensor that works again is logged normally after an hour.
func TestHourWithoutFailuresEndsTheCount(t *testing.T) {
	lines, _ := logOf(t, 6*time.Hour, time.Second, func(n int) ([]Sample, error) {
		if n < 200 && n%20 == 0 || n == 4*3600 {
			return nil, errors.New("no acknowledge")
		}
		return []Sample{{Quantity: "q"}}, nil
	})
	if len(with(lines, `"sensor fails"`)) != 4 || len(with(lines, `"sensor has failed"`)) != 1 {
		t.Error(strings.Join(lines, "\n"))
	}
}

// Four failures a day are four lines each.
func TestRareFailuresAreLoggedSeparately(t *testing.T) {
	lines, _ := logOf(t, 24*time.Hour, time.Minute, func(n int) ([]Sample, error) {
		if n%30 == 0 { // twice an hour
			return nil, errors.New("no acknowledge")
		}
		return []Sample{{Quantity: "q"}}, nil
	})
	if n := len(with(lines, `"sensor fails"`)); n < 45 || len(with(lines, "again and again")) != 0 {
		t.Errorf("%d of 48:\n%s", n, strings.Join(lines, "\n"))
	}
}

// A recovery is logged once, even if another failure follows.
func TestRecoveryIsReportedOnlyAfterAFault(t *testing.T) {
	lines, _ := logOf(t, 10*time.Minute, time.Minute, func(n int) ([]Sample, error) {
		switch n {
		case 2:
			return []Sample{{Quantity: "q"}, {Quantity: "r", Err: errors.New("skipped")}}, nil
		case 5:
			return nil, errors.New("no acknowledge")
		}
		return []Sample{{Quantity: "q"}, {Quantity: "r"}}, nil
	})
	if len(with(lines, `"quantity is back"`)) != 1 || len(with(lines, `"sensor answers again"`)) != 1 ||
		len(lines) != 4 {
		t.Error(strings.Join(lines, "\n"))
	}
}

// A quantity that always fails does not change the interval of the others.
func TestSensorWithOneGoodQuantityKeepsItsInterval(t *testing.T) {
	n := 0
	logOf(t, 10*time.Minute, time.Minute, func(int) ([]Sample, error) {
		n++
		return []Sample{{Quantity: "q"}, {Quantity: "r", Err: errors.New("skipped")}}, nil
	})
	if n != 10 {
		t.Errorf("measured %d times in 10 minutes", n)
	}
}
