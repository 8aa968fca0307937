package promise

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A Source creates the readings of one start of an agent.
type Source struct {
	Rand *rand.Rand
	seqs map[string]uint64
}

// Next creates the next reading of a stream: mostly with two decimals, sometimes with all
// the bits of a float, as a failed reading, or as a state.
func (s *Source) Next(p sensors.Priority, n int) sensors.Reading {
	r := sensors.Reading{Stream: fmt.Sprintf("%s%d", p, n), Priority: p,
		At: clock.NewTimekeeper(clock.TrustAlways).Now(), Unit: "°C"}
	if s.seqs == nil {
		s.seqs = map[string]uint64{}
	}
	s.seqs[r.Stream]++
	r.Seq = s.seqs[r.Stream]
	r.At.Clock = clock.Quality(s.Rand.IntN(3))
	switch s.Rand.IntN(8) {
	case 0:
		r.Value = math.Ldexp(s.Rand.Float64()-0.5, s.Rand.IntN(200)-100)
	case 1:
		r.Err = "no acknowledge"
	case 2:
		r.Value, r.State, r.Unit = 1, "open", ""
	default:
		r.Value = float64(s.Rand.IntN(4000)-1000) / 100
	}
	return r
}
