package work

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A source is three sensors with drifting values, read in turn, with two decimals.
//
// All its stamps come from one timekeeper, as in the agent. A timekeeper counts the uptime
// from its own start; one for each reading would read the kernel's uptime each time, which
// is not simulated.
type source struct {
	rng     *rand.Rand
	clock   *clock.Timekeeper
	streams [3]stream
	n       int
}

type stream struct {
	name, unit  string
	value, step float64
	seq         uint64
}

func newSource(seed uint64) *source {
	return &source{rng: rand.New(rand.NewPCG(seed, 0)), clock: clock.NewTimekeeper(clock.TrustAlways),
		streams: [...]stream{
			{name: "room-temperature", unit: "°C", value: 21.4, step: 0.03},
			{name: "room-humidity", unit: "%", value: 45.2, step: 0.1},
			{name: "room-pressure", unit: "hPa", value: 1013.2, step: 0.05},
		}}
}

// next is a routine reading, taken now.
func (s *source) next() sensors.Reading {
	st := &s.streams[s.n%len(s.streams)]
	s.n++
	st.seq++
	st.value += s.rng.NormFloat64() * st.step
	return sensors.Reading{
		Stream: st.name, Seq: st.seq, Unit: st.unit,
		Value: math.Round(st.value*100) / 100, At: s.clock.Now(),
	}
}

// alarm is the next change of a door.
func (s *source) alarm() sensors.Reading {
	s.n++
	r := sensors.Reading{
		Stream: "door", Seq: uint64(s.n), State: "closed", Priority: sensors.Alarm, At: s.clock.Now(),
	}
	if s.n%2 == 1 {
		r.Value, r.State = 1, "open"
	}
	return r
}

// each calls f n times at a rate, as punctually as a real program: readings at exactly
// equal intervals would compress better.
func (s *source) each(n int, rate float64, f func() error) error {
	start := time.Now()
	period := float64(time.Second) / rate
	for i := range n {
		late := s.rng.Float64() * min(float64(2*time.Millisecond), period/2)
		time.Sleep(time.Until(start.Add(time.Duration(float64(i)*period + late))))
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
