package drivers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/debounce"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"pgregory.net/rapid"
)

// wire is a line with its levels set by a test; edges may get lost.
type wire struct {
	mu     sync.Mutex
	high   bool
	told   []gpio.Edge // not read yet
	lost   uint32
	room   int // for edges that are not read yet; 0: any number
	rung   chan struct{}
	fails  error
	waits  int
	closed bool
}

func newWire() *wire { return &wire{rung: make(chan struct{}, 1)} }

// set changes the level; heard is false for an edge that the hardware missed.
func (w *wire) set(high, heard bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.high == high {
		return
	}
	if w.high = high; !heard {
		return
	}
	if w.room > 0 && len(w.told) == w.room { // the kernel drops the oldest edge
		w.lost += w.told[0].Lost + 1
		w.told = w.told[1:]
	}
	if w.told = append(w.told, gpio.Edge{High: high, At: time.Now()}); len(w.told) == 1 || w.room == 1 {
		w.told[0].Lost, w.lost = w.lost, 0
	}
	select {
	case w.rung <- struct{}{}:
	default:
	}
}

func (w *wire) Level(context.Context) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.high, w.fails
}

func (w *wire) Close() error { w.closed = true; return nil }

func (w *wire) WaitEdges(ctx context.Context, timeout time.Duration, into []gpio.Edge) (int, error) {
	if timeout <= 0 || timeout > idlePollInterval {
		return 0, fmt.Errorf("would wait %v", timeout)
	}
	w.waits++
	deadline := time.After(timeout)
	for {
		w.mu.Lock()
		if len(w.told) > 0 {
			w.told[0].Lost += w.lost
			w.lost = 0
		}
		n := copy(into, w.told)
		w.told = w.told[n:]
		w.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-w.rung:
		case <-deadline:
			return 0, nil
		case <-ctx.Done():
			return 0, nil
		}
	}
}

func openContact(t testing.TB, l gpio.Line, o *contactOptions) sensors.Sensor {
	t.Helper()
	h := &Hardware{OpenLine: func(gpio.Pin, gpio.Request) (gpio.Line, error) { return l, nil }}
	s, err := o.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func doorOptions() *contactOptions {
	o := newContact().(*contactOptions)
	o.GPIO = gpio.SoCPin(17)
	return o
}

// settled opens a contact and takes its first reading.
func settled(t testing.TB, l gpio.Line, o *contactOptions) sensors.Sensor {
	t.Helper()
	s := openContact(t, l, o)
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContactReportsItsLevelAtTheStartOnceItIsStable(t *testing.T) {
	for _, mode := range []debounce.Mode{debounce.Stable, debounce.Settle} {
		synctest.Test(t, func(t *testing.T) {
			o := doorOptions()
			o.Mode = mode
			s, start := openContact(t, newWire(), o), time.Now()
			got, err := s.Next(t.Context())
			if err != nil || len(got) != 1 || got[0] != (sensors.Sample{Quantity: "contact", Value: 0,
				Ago: 50 * time.Millisecond}) {
				t.Fatal(got, err)
			}
			if took := time.Since(start); took != 51*time.Millisecond { // 1 ms for edges, before the first poll
				t.Errorf("took %v", took)
			}
		})
	}
}

// The first bounce is 20 ms before the last one.
func TestReadingHasTheTimeOfTheEdge(t *testing.T) {
	for mode, want := range map[debounce.Mode]struct{ took, ago time.Duration }{
		debounce.Settle: {0, 0},
		debounce.Stable: {70 * time.Millisecond, 50 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, o := newWire(), doorOptions()
			o.Mode = mode
			s := settled(t, w, o)
			var opened time.Time
			go func() {
				time.Sleep(time.Second + 123*time.Millisecond)
				opened = time.Now()
				for range 5 {
					w.set(true, true)
					time.Sleep(2 * time.Millisecond)
					w.set(false, true)
					time.Sleep(2 * time.Millisecond)
				}
				w.set(true, true)
			}()
			got, err := s.Next(t.Context())
			if err != nil || len(got) != 1 || got[0].Value != 1 || got[0].Ago != want.ago ||
				time.Since(opened) != want.took {
				t.Errorf("%s: %+v, %v, after %v; want %+v", mode, got, err, time.Since(opened), want)
			}
			synctest.Wait()
			time.Sleep(20 * time.Millisecond)
		})
	}
}

// The recording of an alarm may wait for the disk. If the contact bounces during that time, a poll must
// not take its level for a stable one.
func TestLateEdgesKeepTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := settled(t, w, doorOptions())
		for range 21 { // it ends open
			w.set(!w.high, true)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(300 * time.Millisecond)
		w.set(false, true)
		time.Sleep(10 * time.Millisecond)
		for i, want := range []sensors.Sample{{Value: 1, Ago: 320 * time.Millisecond},
			{Value: 0, Ago: 50 * time.Millisecond}} {
			got, err := s.Next(t.Context())
			want.Quantity = "contact"
			if err != nil || len(got) != 1 || got[0] != want {
				t.Errorf("%d: %+v, %v; want %+v", i, got, err, want)
			}
		}
	})
}

func TestContactDetectsAChangeWhoseEdgeWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := settled(t, w, doorOptions())
		w.set(true, false)
		start := time.Now()
		got, err := s.Next(t.Context())
		if err != nil || got[0].Value != 1 {
			t.Fatal(got, err)
		}
		if took := time.Since(start); took > idlePollInterval+50*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// TestLostEdgeIsFoundByPolling: a door that opens, and bounces shut
// and open again in one interrupt.
func TestLostEdgeIsFoundByPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := settled(t, w, doorOptions())
		time.Sleep(3 * idlePollInterval)
		w.set(true, true)
		w.set(false, true)
		w.set(true, false)
		start := time.Now()
		got, err := s.Next(t.Context())
		if err != nil || got[0].Value != 1 {
			t.Fatal(got, err)
		}
		if took := time.Since(start); took > pollInterval+50*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// TestQuietContactIsPolledSixTimesAMinute, at the same moments as all others.
func TestQuietContactIsPolledSixTimesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := settled(t, w, doorOptions())
		time.Sleep(1234 * time.Millisecond)
		w.set(true, true)
		if got, err := s.Next(t.Context()); err != nil || got[0].Value != 1 {
			t.Fatal(got, err)
		}
		time.Sleep(time.Until(time.Now().Truncate(idlePollInterval).Add(idlePollInterval + time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.waits = 0
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if w.waits > 8 { // one for what was due before, six, and the one that ctx ended
			t.Errorf("waited %d times in a minute", w.waits)
		}
	})
}

// A realistic contact: levels that last for some time each, and edges of which some are lost.
type bounce struct {
	Level bool
	lasts time.Duration
	heard bool
}

var bouncy = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) bounce {
	return bounce{
		Level: rapid.Bool().Draw(t, "level"),
		lasts: time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond,
		heard: rapid.Bool().Draw(t, "heard"),
	}
}), 1, 40)

func TestContactEndsAtTheTrueLevelAfterAnyBounceWithEdgesMissed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pattern := bouncy.Draw(rt, "pattern")
		o := doorOptions()
		o.Mode = rapid.SampledFrom([]debounce.Mode{debounce.Stable, debounce.Settle}).Draw(rt, "mode")
		o.Hold = time.Duration(rapid.IntRange(0, 1).Draw(rt, "hold")) * 700 * time.Millisecond
		told := tellOf(t, o, pattern)
		if final := pattern[len(pattern)-1].Level; len(told) == 0 || final != (told[len(told)-1] == 1) {
			rt.Fatalf("told %v, the contact ended at %v", told, final)
		}
	})
}

// tellOf returns what a contact reports for a pattern, until the next poll.
func tellOf(t *testing.T, o *contactOptions, pattern []bounce) (told []float64) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := openContact(t, w, o)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for _, b := range pattern {
				w.set(b.Level, b.heard)
				time.Sleep(b.lasts)
				synctest.Wait()
			}
			time.Sleep(idlePollInterval + 2*time.Second)
			synctest.Wait()
			cancel()
		}()
		for {
			got, err := s.Next(ctx)
			if err != nil {
				break
			}
			for _, s := range got {
				told = append(told, s.Value)
			}
		}
	})
	return told
}

// noise is a line that changes 10,000 times a second, as the kernel reports it:
// the latest 256 edges, with numbers. They are computed on demand.
type noise struct {
	begun, ends time.Time
	read        int64 // edges that were read or lost
	asked       int
}

func (n *noise) edges() int64 {
	return int64(max(min(time.Since(n.begun), n.ends.Sub(n.begun)), 0) / (100 * time.Microsecond))
}

func (n *noise) Level(context.Context) (bool, error) { return n.edges()%2 == 1, nil }
func (n *noise) Close() error                        { return nil }

func (n *noise) WaitEdges(ctx context.Context, timeout time.Duration, into []gpio.Edge) (count int, err error) {
	n.asked++
	if n.edges() == n.read {
		next := timeout
		if time.Now().Before(n.ends) {
			next = min(timeout, max(time.Until(n.begun), 100*time.Microsecond))
		}
		_ = host.Sleep(ctx, next)
	}
	all, lost := n.edges(), int64(0)
	if all-n.read > 256 {
		lost = all - n.read - 256
	}
	n.read += lost
	for ; count < len(into) && n.read < all; count++ {
		n.read++
		into[count] = gpio.Edge{High: n.read%2 == 1, At: n.begun.Add(time.Duration(n.read) * 100 * time.Microsecond),
			Lost: uint32(lost)}
		lost = 0
	}
	return count, nil
}

// TestHourOfNoiseGivesFewMessages: 36 million edges, in each mode.
func TestHourOfNoiseGivesFewMessages(t *testing.T) {
	for mode, want := range map[debounce.Mode]struct {
		quiet  time.Duration
		events string
		most   int // readings
	}{
		debounce.Stable: {50 * time.Millisecond, "started continues ended", 3},
		debounce.Settle: {50 * time.Millisecond, "started continues ended", 3},
		"none":          {0, "started continues ended", 30 + 75},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := doorOptions()
			if o.Debounce = want.quiet; mode != "none" {
				o.Mode = mode
			}
			n := &noise{begun: time.Now().Add(10 * time.Second)}
			n.ends = n.begun.Add(time.Hour + 90*time.Second + 100*time.Microsecond)
			s := openContact(t, n, o)
			ctx, cancel := context.WithTimeout(t.Context(), 80*time.Minute)
			defer cancel()
			var events []string
			readings, edges, last := 0, uint64(0), 0.0
			for {
				samples, err := s.Next(ctx)
				if err != nil {
					break
				}
				for _, s := range samples {
					if s.Event == nil {
						readings, last = readings+1, s.Value
						continue
					}
					var details struct {
						Phase              string
						Swallowed, Changes uint64
					}
					if err := json.Unmarshal(s.Event.Details, &details); err != nil {
						t.Fatal(err)
					}
					events = append(events, details.Phase)
					edges += details.Swallowed + details.Changes
				}
			}
			if got := strings.Join(events, " "); got != want.events || readings > want.most ||
				last != float64(n.edges()%2) {
				t.Errorf("%s: events %q, %d readings, the last is %v; want %q, at most %d, %v", mode, got, readings,
					last, want.events, want.most, n.edges()%2)
			}
			if all := uint64(n.edges()); edges < all-50 || edges > all+1 { // the level of the start counts as a reading
				t.Errorf("%s: the events tell of %d edges of %d", mode, edges, all)
			}
			if most := 60*1000/5 + 80*60*4*5; mode != "none" && n.asked > most {
				t.Errorf("%s: the line was asked %d times, want at most %d", mode, n.asked, most)
			}
		})
	}
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

func TestContactStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settled(t, newWire(), doorOptions())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := s.Next(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if late := time.Since(start) - time.Minute; late > 0 {
			t.Errorf("%v late", late)
		}
	})
}

// TestPolledContactReportsTheSame: a line that announces no edges.
func TestPolledContactReportsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := settled(t, gpio.PolledLine{Leveler: w}, doorOptions())
		w.set(true, true)
		start := time.Now()
		got, err := s.Next(t.Context())
		if took := time.Since(start); err != nil || got[0].Value != 1 || took > gpio.PollWait+51*time.Millisecond {
			t.Fatal(got, err, took)
		}
		if w.waits != 0 {
			t.Error("waited for an edge")
		}
	})
}

func TestContactIsOneOutsideItsNormalState(t *testing.T) {
	for _, c := range []struct {
		pull     gpio.Pull
		normally string
		high     bool
	}{
		{gpio.PullUp, "", true}, {gpio.PullUp, "closed", true}, {gpio.PullUp, "open", false},
		{gpio.PullDown, "", true}, {gpio.PullDown, "open", true}, {gpio.PullDown, "closed", false},
		{gpio.PullOff, "", true}, {gpio.PullOff, "closed", true}, {gpio.PullOff, "open", false},
	} {
		o := &contactCommon{Normally: c.normally}
		if got := o.highIsOn(c.pull); got != c.high {
			t.Errorf("pull %s, normally %q: high is 1: %v, want %v", c.pull, c.normally, got, c.high)
		}
	}
}

func TestContactOptionsSayWhatIsWrong(t *testing.T) {
	o := &contactOptions{Pull: "upp", contactCommon: contactCommon{
		Normally: "shut", Debounce: time.Minute, Mode: "quick", Hold: -1, Flapping: -1, Class: "doors",
	}}
	var keys []string
	for _, p := range o.Check() {
		keys = append(keys, p.Key)
	}
	want := []string{"gpio", "pull", "normally", "debounce", "debounce_mode", "hold", "flapping",
		"class"}
	if !slices.Equal(keys, want) {
		t.Errorf("problems with %v, want %v", keys, want)
	}
	if last := o.Check()[7].Text; !strings.Contains(last, "door, ") || strings.Contains(last, " , ") {
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
		o := &contactOptions{contactCommon: contactCommon{Class: class}}
		q := o.Quantities()
		if len(q) != 1 || q[0].Name != "contact" || q[0].Class != class || !slices.Equal(q[0].States, want) {
			t.Errorf("%q: %+v", class, q)
		}
	}
}
