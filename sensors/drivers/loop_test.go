package drivers

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
)

// byHand is the loop of a kilo-ohm each that the comments speak of: short 0 V,
// closed 3.3*1/2 = 1.65 V, open 3.3*2/3 = 2.2 V, cut 3.3 V.
func byHand() *loop { return &loop{PullUp: 1000, EndOfLine: 1000, Contact: 1000} }

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestLoopOfAContactThatOpensHasFourVoltages(t *testing.T) {
	got := byHand().levels()
	for i, want := range []float64{0, 1.65, 2.2, 3.3} {
		if !near(got[i], want) {
			t.Errorf("%v, want %v", got[i], want)
		}
	}
	ends := byHand().ends()
	for i, want := range []float64{0.825, 1.925, 2.75} { // midway
		if !near(ends[i], want) {
			t.Errorf("ends %v, want %v", ends[i], want)
		}
	}
}

// 4k7 beside 4k7 is 2350: 5*2350/(2350+4700) = 1.667 V closed; 2.5 V open.
func TestLoopOfAContactThatClosesHasFourVoltages(t *testing.T) {
	l := &loop{Supply: 5, PullUp: 4700, EndOfLine: 4700, Series: 4700}
	got := l.levels()
	for i, want := range []float64{0, 5.0 / 3, 2.5, 5} {
		if !near(got[i], want) {
			t.Errorf("%v, want %v", got[i], want)
		}
	}
	if p := l.check(); p != nil {
		t.Error(p)
	}
}

func TestValuesOfALoopAreAContactsAndTwoMore(t *testing.T) {
	for v, want := range map[float64]string{0: "short", 1.65: "closed", 2.2: "open", 3.3: "cut"} {
		w, at := byHand().watch(), time.Now()
		w.observe(v, at)
		value, news := w.observe(v, at.Add(time.Second))
		if word := loopStates.Word(value); !news || word != want {
			t.Errorf("%vV: %v %s, want %s", v, value, word, want)
		}
	}
	if loopStates.Word(0) != "closed" || loopStates.Word(1) != "open" {
		t.Error("0 and 1 do not mean what a contact means")
	}
}

func TestLoopOptionsSayWhatIsWrong(t *testing.T) {
	for want, l := range map[string]*loop{
		"loop.pull_up":     {EndOfLine: 1000, Contact: 1000},
		"loop.end_of_line": {PullUp: 1000, Contact: 1000},
		"loop":             {PullUp: 1000, EndOfLine: 1000},
		"loop ":            {PullUp: 1000, EndOfLine: 1000, Contact: 1000, Series: 1000},
		"loop  ":           {PullUp: 1000, EndOfLine: 1000, Contact: 100}, // open is too near to closed
		"loop   ":          {PullUp: 1000, Bands: &loopBands{0.3, 1.2, 2.4}},
		"loop.bands":       {Bands: &loopBands{0.3, 2.4, 1.2}},
		"loop.bands ":      {Bands: &loopBands{0.3, 1.2, 3.3}},
		"loop.bands  ":     {Bands: &loopBands{}},
		"loop.debounce":    {Debounce: time.Millisecond, Bands: &loopBands{0.3, 1.2, 2.4}},
	} {
		if p := l.check(); len(p) != 1 || p[0].Key != strings.TrimSpace(want) {
			t.Errorf("%s: %v", want, p)
		}
	}
	if p := (&loop{Bands: &loopBands{0.3, 1.2, 2.4}}).check(); p != nil {
		t.Error(p)
	}
	p := (&loop{PullUp: 1000, EndOfLine: 1000, Contact: 100}).check()
	if len(p) != 1 || !strings.HasPrefix(p[0].Text, "closed and open would be 0.079V apart") { // 3.3*(1.1/2.1 - 1/2)
		t.Error(p)
	}
}

// The band of short, open and cut is 0.55 V at the least: 82.5 mV beyond an end
// are needed to cross it. 1.925 V is between closed and open.
func TestLoopStatesHaveHysteresis(t *testing.T) {
	w, at := byHand().watch(), time.Now()
	told := 0
	for i := range 10_000 {
		at = at.Add(loopInterval)
		if _, news := w.observe(1.925+0.05*math.Sin(float64(i)/7), at); news {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

func TestShortStateIsNotReported(t *testing.T) {
	w, at := byHand().watch(), time.Now()
	var got []float64
	for _, v := range []float64{1.65, 1.65, 1.65, 2.2, 1.65, 1.65, 2.2, 3.3, 3.3, 3.3, 1.65, 0, 0, 0} { // 100 ms each
		if value, news := w.observe(v, at); news {
			got = append(got, value)
		}
		at = at.Add(loopInterval)
	}
	if want := []float64{0, 3, 2}; !slices.Equal(got, want) { // closed, cut, short; open passed twice
		t.Errorf("%v, want %v", got, want)
	}
}

func TestUnsettledLoopIsNotClosed(t *testing.T) {
	w, at := byHand().watch(), time.Now()
	w.observe(1.65, at)
	w.observe(1.65, at.Add(time.Second))
	for i := range 4 {
		at = at.Add(loopInterval)
		if _, news := w.observe([]float64{2.2, 3.3}[i%2], at.Add(time.Second)); news {
			return
		}
	}
	t.Error("open and cut in turn are still closed")
}

// For any measurements, the last report is the current state after it was stable.
func FuzzLoopWatch(f *testing.F) {
	f.Add([]byte{0, 128, 255, 128, 170, 170, 150, 148})
	f.Fuzz(func(t *testing.T, volts []byte) {
		w, at := byHand().watch(), time.Now()
		last := -1.0
		for _, v := range volts {
			at = at.Add(loopInterval)
			if value, news := w.observe(float64(v)/255*3.3, at); news {
				if value == last {
					t.Fatalf("told %v twice", value)
				}
				last = value
			}
		}
		for _, v := range []float64{0, 1.65, 2.2, 3.3} {
			for range 4 {
				at = at.Add(loopInterval)
				if value, news := w.observe(v, at); news {
					last = value
				}
			}
			if loopStates.Word(last) != map[float64]string{0: "short", 1.65: "closed", 2.2: "open", 3.3: "cut"}[v] {
				t.Fatalf("%vV is %v", v, last)
			}
		}
	})
}

// onLoop opens a loop at an input with a voltage that the test sets.
func onLoop(t *testing.T, l *loop) (sensors.Sensor, *adsChip) {
	t.Helper()
	chip := &adsChip{}
	o := adsAt("A2")
	o.Loop = l
	if p := o.Check(); p != nil {
		t.Fatal(p)
	}
	chip.set(1.65)
	s, err := o.Open(t.Context(), wired(&i2cfake.Bus{Answer: chip.tx}))
	if err != nil {
		t.Fatal(err)
	}
	return s, chip
}

func (c *adsChip) set(v float64) { c.volts[6] = uint16(v / 4.096 * 32768) }

func TestLoopReportsAtTheStartAndWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, chip := onLoop(t, byHand())
		defer s.Close()
		start := time.Now()
		for _, c := range []struct {
			v    float64
			word string
		}{{1.65, "closed"}, {2.2, "open"}, {3.3, "cut"}, {0.02, "short"}, {1.65, "closed"}} {
			chip.set(c.v)
			changed := time.Now()
			got := next(t, s)
			if word := loopStates.Word(got.Value); word != c.word || got.Quantity != "loop" {
				t.Errorf("%vV: %+v, want %s", c.v, got, c.word)
			}
			if took := time.Since(changed); took < 200*time.Millisecond || took > 500*time.Millisecond {
				t.Errorf("%s: took %v", c.word, took)
			}
			time.Sleep(time.Second)
		}
		if time.Since(start) > 10*time.Second {
			t.Error(time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if got, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("said the same again", got, err)
		}
	})
}

func TestExternalVoltageOnALoopIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for v, want := range map[float64]string{4: "i2c-1 0x48: 4.00V on a loop with a supply of 3.3V",
			4.0955: "i2c-1 0x48: the input is beyond"} {
			s, chip := onLoop(t, byHand())
			chip.set(v)
			if got, err := s.Next(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%vV: %v, %v", v, got, err)
			}
			s.Close()
		}
	})
}

func TestLoopWithoutItsConverterIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip, start := &adsChip{}, time.Now()
		chip.set(1.65)
		o := adsAt("A2")
		o.Loop = byHand()
		s, err := o.Open(t.Context(), wired(&i2cfake.Bus{Answer: func(n int, addr uint16, w, r []byte) error {
			if time.Since(start) >= time.Minute { // pulled
				return syscall.EREMOTEIO
			}
			return chip.tx(n, addr, w, r)
		}}))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		next(t, s)
		if _, err := s.Next(t.Context()); !errors.Is(err, syscall.EREMOTEIO) ||
			time.Since(start) > time.Minute+time.Second {
			t.Error(err, time.Since(start))
		}
	})
}

func TestLoopNeedsNoInterval(t *testing.T) {
	o := adsAt("A0")
	if o.Pace() == 0 {
		t.Error("a voltage comes by itself")
	}
	if o.Loop = byHand(); o.Pace() != 0 {
		t.Error("a loop is paced")
	}
}

// Each end is crossed a margin beyond it, on the way up and on the way down.
func TestBandsHaveAMarginAtBothEnds(t *testing.T) {
	for i, end := range byHand().ends() {
		w := byHand().watch()
		for _, c := range []struct {
			seen    int
			margins float64
			want    int
		}{{i, 0.9, i}, {i, 1.1, i + 1}, {i + 1, -0.9, i + 1}, {i + 1, -1.1, i}} {
			w.seen = c.seen
			if got := w.band(end + c.margins*w.margin); got != c.want {
				t.Errorf("end %d, from band %d, %v margins beyond: band %d, want %d", i, c.seen, c.margins, got, c.want)
			}
		}
	}
}
