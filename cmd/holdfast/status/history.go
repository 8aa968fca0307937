package status

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

const (
	// slotLength times slots is an hour: 360 bytes of values for each stream.
	slotLength = 40 * time.Second
	slots      = 90
)

// A ring is the last hour of one stream: the mean of its values in each slot. Until the
// first hour is over it has fewer slots.
type ring struct {
	values [slots]float32 // by the number of the slot, modulo slots; NaN: nothing was measured
	newest int64          // number of the newest slot; slots count from the start of the uptime
	oldest int64
	sum    float64 // of the newest slot
	count  int
}

// slotOf is the number of the slot of an uptime. The uptime never steps, so all slots have
// the same length even when the wall clock is set.
func slotOf(uptime time.Duration) int64 { return int64(uptime / slotLength) }

// add takes a value that was measured at an uptime. NaN stands for a reading that failed. A
// value that is older than the newest slot is dropped.
func (r *ring) add(uptime time.Duration, v float64) {
	slot := slotOf(uptime)
	switch {
	case r.newest == 0 && r.count == 0 && r.oldest == 0:
		r.newest, r.oldest = slot, slot
		r.values[slot%slots] = float32(math.NaN())
	case slot < r.newest:
		return
	}
	r.advance(slot)
	if math.IsNaN(v) {
		return
	}
	r.sum += v
	r.count++
	r.values[slot%slots] = float32(r.sum / float64(r.count))
}

// advance starts all slots up to the given one.
func (r *ring) advance(slot int64) {
	if slot == r.newest {
		return
	}
	for n := max(r.newest+1, slot-slots+1); n <= slot; n++ {
		r.values[n%slots] = float32(math.NaN())
	}
	r.newest, r.sum, r.count = slot, 0, 0
	r.oldest = max(r.oldest, slot-slots+1)
}

// history returns a copy that ends with the given slot.
func (r *ring) history(now int64) *History {
	h := &History{Step: slotLength.Seconds()}
	for n := max(r.oldest, now-slots+1); n <= now; n++ {
		v := float32(math.NaN())
		if n <= r.newest {
			v = r.values[n%slots]
		}
		h.Values = append(h.Values, v)
	}
	return h
}

// A History is a list of means over equal time spans, oldest first; the last span is not
// complete. NaN, in JSON null, is a span without a value: for a stream that reports only
// changes the value before still holds.
type History struct {
	Step   float64   // seconds
	Values []float32 // in the stream's unit
}

// MarshalJSON writes the shortest form of each number: the histories are most of a
// snapshot.
func (h History) MarshalJSON() ([]byte, error) {
	b := append([]byte(`{"step_s":`), strconv.FormatFloat(h.Step, 'g', -1, 64)...)
	b = append(b, `,"values":[`...)
	for i, v := range h.Values {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, float64(v), 'g', 6, 32)
		}
	}
	return append(b, "]}"...), nil
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (h *History) UnmarshalJSON(data []byte) error {
	var in struct {
		Step   float64    `json:"step_s"`
		Values []*float32 `json:"values"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	h.Step, h.Values = in.Step, make([]float32, len(in.Values))
	for i, v := range in.Values {
		h.Values[i] = float32(math.NaN())
		if v != nil {
			h.Values[i] = *v
		}
	}
	return nil
}
