package drivers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/sensors"
)

// wire is a line with its levels set by a test; edges may get lost.
type wire struct {
	high   atomic.Bool
	edges  chan struct{}
	fails  error
	closed bool
}

func newWire() *wire { return &wire{edges: make(chan struct{}, 16)} }

func (w *wire) set(high, heard bool) {
	if w.high.Store(high); heard {
		select {
		case w.edges <- struct{}{}:
		default:
		}
	}
}

func (w *wire) level() (bool, error) { return w.high.Load(), w.fails }
func (w *wire) Close() error         { w.closed = true; return nil }

func (w *wire) wait(timeout time.Duration) (bool, error) {
	if timeout <= 0 {
		return false, fmt.Errorf("a timeout of %v is for ever to periph", timeout)
	}
	select {
	case <-w.edges:
		return true, nil
	case <-time.After(timeout):
		return false, nil
	}
}

func openContact(t testing.TB, w *wire, o *contactOptions) sensors.Sensor {
	t.Helper()
	h := &Hardware{openLine: func(Pin, pull) (line, error) { return w, nil }}
	s, err := o.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func doorOptions() *contactOptions {
	o := newContact().(*contactOptions)
	o.GPIO = Pin{form: onSoC, offset: 17}
	return o
}

func TestContactReportsItsLevelAtTheStartOnceItIsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s, start := openContact(t, w, doorOptions()), time.Now()
		got, err := s.Next(t.Context())
		if err != nil || len(got) != 1 || got[0] != (sensors.Sample{Quantity: "contact", Value: 0}) {
			t.Fatal(got, err)
		}
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestContactSeesAChangeWhoseEdgeWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := openContact(t, w, doorOptions())
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.set(true, false)
		start := time.Now()
		got, err := s.Next(t.Context())
		if err != nil || got[0].Value != 1 {
			t.Fatal(got, err)
		}
		if took := time.Since(start); took > edgeWait+50*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestContactEndsAtTheTrueLevelAfterAnyBounce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pattern := bounces.Draw(rt, "pattern")
		var told []float64
		synctest.Test(t, func(t *testing.T) {
			w := newWire()
			s := openContact(t, w, doorOptions())
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for _, b := range pattern {
					w.set(b.level, b.heard)
					time.Sleep(b.lasts)
					synctest.Wait()
				}
				time.Sleep(time.Second)
				synctest.Wait()
				cancel()
			}()
			for {
				got, err := s.Next(ctx)
				if err != nil {
					break
				}
				told = append(told, got[0].Value)
			}
		})
		if final := pattern[len(pattern)-1].level; len(told) == 0 || final != (told[len(told)-1] == 1) {
			rt.Fatalf("told %v, the contact ended at %v", told, final)
		}
	})
}

func TestContactFailsWithThePinAndTheErrno(t *testing.T) {
	w := newWire()
	w.fails = syscall.ENODEV
	s := openContact(t, w, doorOptions())
	_, err := s.Next(t.Context())
	if !errors.Is(err, syscall.ENODEV) || err.Error() != "GPIO17: read the level: no such device" {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil || !w.closed {
		t.Fatal("left the line open", err)
	}
}

func TestContactStopsWithinAQuarterOfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openContact(t, newWire(), doorOptions())
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := s.Next(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if late := time.Since(start) - time.Minute; late > edgeWait {
			t.Errorf("%v late", late)
		}
	})
}

func TestContactIsOneWhenTheCircuitIsNotAsItNormallyIs(t *testing.T) {
	for _, c := range []struct {
		pull     pull
		normally string
		high     float64
	}{
		{pullUp, "", 1}, {pullUp, "closed", 1}, {pullUp, "open", 0},
		{pullDown, "", 1}, {pullDown, "open", 1}, {pullDown, "closed", 0},
		{pullOff, "", 1}, {pullOff, "closed", 1}, {pullOff, "open", 0},
	} {
		o := &contactOptions{Pull: c.pull, Normally: c.normally}
		if got := o.highIs(); got != c.high {
			t.Errorf("pull %s, normally %q: high is %v, want %v", c.pull, c.normally, got, c.high)
		}
	}
}

func TestContactOptionsSayWhatIsWrong(t *testing.T) {
	o := &contactOptions{Pull: "upp", Normally: "shut", Debounce: time.Minute, Class: "doors"}
	var keys []string
	for _, p := range o.Check() {
		keys = append(keys, p.Key)
	}
	if want := []string{"gpio", "pull", "normally", "debounce", "class"}; !slices.Equal(keys, want) {
		t.Errorf("problems with %v, want %v", keys, want)
	}
	if last := o.Check()[4].Text; !strings.Contains(last, "door, ") || strings.Contains(last, " , ") {
		t.Error(last)
	}
	if p := doorOptions().Check(); p != nil {
		t.Error(p)
	}
}

func TestClassHasTheWordsOfHomeAssistant(t *testing.T) {
	for class, want := range map[string][]string{
		"": {"closed", "open"}, "door": {"closed", "open"}, "motion": {"off", "on"},
		"moisture": {"dry", "wet"}, "lock": {"locked", "unlocked"}, "presence": {"away", "home"},
	} {
		o := &contactOptions{Class: class}
		q := o.Quantities()
		if len(q) != 1 || q[0].Name != "contact" || q[0].Class != class || !slices.Equal(q[0].States, want) {
			t.Errorf("%q: %+v", class, q)
		}
	}
}
