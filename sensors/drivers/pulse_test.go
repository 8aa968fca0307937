package drivers

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// meter is a line with edges at times that a test has chosen, as the kernel tells
// of them: the latest `room`, with numbers.
type meter struct {
	edges []time.Time
	room  int
	fails error // once there are no more edges
	asked gpio.Request
	waits int
}

func (m *meter) Level(context.Context) (bool, error) { return false, nil }
func (m *meter) Close() error                        { return nil }

func (m *meter) WaitEdges(ctx context.Context, timeout time.Duration, into []gpio.Edge) (n int, err error) {
	m.waits++
	switch {
	case len(m.edges) == 0 && m.fails != nil:
		return 0, m.fails
	case len(m.edges) == 0:
		_ = host.Sleep(ctx, timeout)
	default:
		_ = host.Sleep(ctx, min(timeout, max(time.Until(m.edges[0]), 0)))
	}
	been := 0
	for been < len(m.edges) && !m.edges[been].After(time.Now()) {
		been++
	}
	lost := max(been-m.room, 0)
	n = min(been-lost, len(into))
	for i, at := range m.edges[lost : lost+n] {
		into[i] = gpio.Edge{At: at}
	}
	if n > 0 {
		into[0].Lost = uint32(lost)
	}
	m.edges = m.edges[lost+n:]
	return n, nil
}

func openPulse(t testing.TB, m *meter, o *pulseOptions) sensors.Sensor {
	t.Helper()
	h := &Hardware{OpenLine: func(_ gpio.Pin, want gpio.Request) (gpio.Line, error) { m.asked = want; return m, nil }}
	s, err := o.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rainOptions() *pulseOptions {
	o := newPulse().(*pulseOptions)
	o.GPIO = gpio.SoCPin(6)
	o.PerPulse, o.Quantity, o.Unit, o.Class = 0.2794, "rain", "mm", "precipitation"
	return o
}

// every is an edge each so often, n of them.
func every(d time.Duration, n int) (edges []time.Time) {
	for i := range n {
		edges = append(edges, time.Now().Add(time.Duration(i+1)*d))
	}
	return edges
}

// A meter of 10000 pulses a kWh that is configured in MWh.
func TestSmallPulseIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := rainOptions()
		o.PerPulse, o.Quantity, o.Unit, o.Class = 1e-7, "energy", "MWh", "energy"
		s := openPulse(t, &meter{edges: every(time.Second, 3), room: 1024}, o)
		got, err := s.Next(t.Context())
		if err != nil || got[0].Value != 3e-7 || got[1].Value != 0.000108 { // in 10 s
			t.Error(got, err)
		}
	})
}

func TestHourAtFiftyHertzIsCountedWithoutLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meter{edges: every(20*time.Millisecond, 50*3600), room: 1024}
		o := rainOptions()
		o.PerPulse = 1
		s, start := openPulse(t, m, o), time.Now()
		var total float64
		for n := 0; time.Since(start) < time.Hour+time.Minute; n++ {
			got, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at := 10*time.Second + time.Duration(n)*time.Minute
			all := float64(min(at, time.Hour) / (20 * time.Millisecond))
			if total = got[0].Value; time.Since(start) != at || total > all || total < all-1 {
				t.Fatalf("after %v, want %v: %v of %v", time.Since(start), at, total, all)
			}
		}
		if total != 180_000 {
			t.Errorf("%v of 180000", total)
		}
		if m.waits > 3670*50 {
			t.Errorf("the line was asked %d times", m.waits)
		}
	})
}

func TestRainHasHomeAssistantsClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meter{edges: every(12*time.Second, 1), room: 1024}
		for range 149 {
			m.edges = append(m.edges, m.edges[len(m.edges)-1].Add(300*time.Millisecond))
		}
		s := openPulse(t, m, rainOptions())
		want := [][]sensors.Sample{
			{{Quantity: "rain", Value: 0}, {Quantity: "rate", Value: 0}},
			{{Quantity: "rain", Value: 41.91}, {Quantity: "rate", Value: 2514.6}}, // 150 * 0.2794 mm in a minute
			{{Quantity: "rain", Value: 41.91}, {Quantity: "rate", Value: 0}},
		}
		for i, w := range want {
			if got, err := s.Next(t.Context()); err != nil || !slices.Equal(got, w) {
				t.Errorf("%d: %v, %v; want %v", i, got, err, w)
			}
		}
	})
	if q := rainOptions().Quantities(); q[0].Unit != "mm" || q[0].Class != "precipitation" || q[1].Unit != "mm/h" ||
		q[1].Class != "precipitation_intensity" {
		t.Errorf("%+v", q)
	}
}

// A process that was stopped for a minute: the kernel kept 1024 of 3000 edges.
func TestStalledAgentCountsLostPulses(t *testing.T) {
	for _, debounce := range []time.Duration{0, 5 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			m := &meter{edges: every(20*time.Millisecond, 3000), room: 1024}
			o := rainOptions()
			o.PerPulse, o.Debounce = 1, debounce
			s := openPulse(t, m, o)
			time.Sleep(time.Minute)
			m.edges = append(m.edges, every(20*time.Millisecond, 10)...)
			if _, err := s.Next(t.Context()); err != nil { // it is late
				t.Fatal(err)
			}
			got, err := s.Next(t.Context())
			if err != nil || got[0].Value != 3010 {
				t.Errorf("debounce %v: %v, %v", debounce, got, err)
			}
		})
	}
}

func TestPulsesAreReportedBeforeClose(t *testing.T) {
	for name, want := range map[string]error{"stopped": context.DeadlineExceeded, "unplugged": syscall.ENODEV} {
		synctest.Test(t, func(t *testing.T) {
			m := &meter{edges: every(time.Second, 4), room: 1024}
			if name == "unplugged" {
				m.fails = syscall.ENODEV
			}
			s := openPulse(t, m, rainOptions())
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			got, err := s.Next(ctx)
			if err != nil || got[0].Value != 1.1176 {
				t.Errorf("%s: %v, %v; want 4 pulses", name, got, err)
			}
			if got, err := s.Next(ctx); !errors.Is(err, want) || got != nil {
				t.Errorf("%s: then %v, %v; want %v", name, got, err, want)
			}
		})
	}
}

func TestBouncesOfAPulseAreNotCounted(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 50))
		c := pulseCount{apart: 5 * time.Millisecond, at: at(0)}
		now, want := at(0), 1+r.IntN(100)
		for range want {
			now = now.Add(5*time.Millisecond + time.Duration(r.IntN(30_000))*time.Microsecond)
			c.edge(now, 0)
			for spent := time.Duration(0); r.IntN(3) > 0; {
				if spent += time.Duration(1+r.IntN(2000)) * time.Microsecond; spent >= 5*time.Millisecond {
					break
				}
				c.edge(now.Add(spent), 0)
			}
		}
		if c.pulses != uint64(want) {
			t.Fatalf("seed %d: %d pulses, want %d", seed, c.pulses, want)
		}
	}
}

// FuzzPulseCount: never more pulses than edges, nor than fit into the time.
func FuzzPulseCount(f *testing.F) {
	f.Add(uint8(5), []byte{10, 0, 2, 0, 20, 7})
	f.Add(uint8(0), []byte{0, 0, 0, 255, 1, 1})
	f.Fuzz(func(t *testing.T, apart uint8, edges []byte) {
		c := pulseCount{apart: time.Duration(apart) * time.Millisecond, at: at(0)}
		ms, all := 0, uint64(0)
		for ; len(edges) >= 2; edges = edges[2:] {
			ms += int(edges[0])
			all += uint64(edges[1]) + 1
			before := c.pulses
			c.edge(at(ms), uint32(edges[1]))
			if apart == 0 && c.pulses != all || c.pulses < before {
				t.Fatalf("%d pulses of %d edges, %d before", c.pulses, all, before)
			}
		}
		if c.pulses > all || apart > 0 && c.pulses > uint64(ms)/uint64(apart) {
			t.Fatalf("%d pulses of %d edges in %d ms, %d ms apart", c.pulses, all, ms, apart)
		}
	})
}

func TestPulseRequestsOnlyItsEdges(t *testing.T) {
	for edge, want := range map[string]gpio.Edges{"falling": gpio.FallingEdges, "rising": gpio.RisingEdges} {
		o, m := rainOptions(), &meter{}
		o.Edge = edge
		openPulse(t, m, o)
		if m.asked != (gpio.Request{Pull: gpio.PullUp, Edges: want, Buffer: 1024}) {
			t.Errorf("%s: asked for %+v", edge, m.asked)
		}
	}
}

func TestPulseOptionsSayWhatIsWrong(t *testing.T) {
	o := &pulseOptions{Pull: "high", Edge: "both", Debounce: -1, PerPulse: -0.1, Quantity: "rate", Class: "rain",
		Report: time.Millisecond}
	var keys []string
	for _, p := range o.Check() {
		keys = append(keys, p.Key)
	}
	want := []string{"gpio", "pull", "edge", "debounce", "per_pulse", "quantity", "report_every",
		"class"}
	if !slices.Equal(keys, want) {
		t.Errorf("problems with %v, want %v", keys, want)
	}
	if p := rainOptions().Check(); p != nil {
		t.Error(p)
	}
	o = rainOptions()
	o.Unit = "L"
	if p := o.Check(); len(p) != 1 || p[0].Key != "unit" || !strings.Contains(p[0].Text, "write in, mm") {
		t.Error(p)
	}
}

func TestRateHasTheUnitOfItsClass(t *testing.T) {
	for _, c := range []struct{ class, unit, rate, rateClass string }{
		{"energy", "kWh", "kW", "power"}, {"water", "L", "L/h", "volume_flow_rate"},
		{"gas", "m³", "m³/h", "volume_flow_rate"}, {"", "", "1/h", ""}, {"", "bags", "bags/h", ""},
	} {
		if q := rateOf(c.class, c.unit); q.Unit != c.rate || q.Class != c.rateClass {
			t.Errorf("%s %s: %+v", c.class, c.unit, q)
		}
	}
}

// Edges that were lost count, but no more than there was time for.
func TestLostEdgesAreBoundedByTime(t *testing.T) {
	for lost, want := range map[uint32]uint64{0: 1, 5: 6, 9: 10, 100: 10} {
		start := time.Now()
		c := pulseCount{apart: 5 * time.Millisecond, at: start}
		if c.edge(start.Add(50*time.Millisecond), lost); c.pulses != want {
			t.Errorf("%d lost: %d pulses, want %d", lost, c.pulses, want)
		}
	}
}

// at is the time of a millisecond.
func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }
