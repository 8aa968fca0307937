package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// A reading is a reading as it arrived, with the fields of the payload.
type reading struct {
	stream string
	at     time.Time // of the arrival

	TS         int64
	Boot       string
	Seq        uint64
	Value      *float64
	State      string
	Unit       string
	Historical bool
	Clock      string
	Error      string
	By         string
}

func (r reading) taken() time.Time { return time.UnixMilli(r.TS) }

// is reports whether a reading has approximately this value.
func (r reading) is(value, within float64) bool {
	return r.Value != nil && *r.Value >= value-within && *r.Value <= value+within
}

// failed reports whether the sensor could not be read, and the reading has the reason.
func (r reading) failed() bool { return r.Value == nil && r.Error != "" }

func (r reading) String() string {
	value := "null"
	if r.Value != nil {
		value = fmt.Sprint(*r.Value) + r.Unit
	}
	return fmt.Sprintf("%s %s/%d %s%s%s", r.stream, r.Boot, r.Seq, value, prefixed(" ", r.State),
		prefixed(" ", r.Error))
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// readings are the readings among the arrivals: topics with two levels. One that cannot be
// decoded has no boot, so no check accepts it.
func readings(arrivals []broker.Arrival) (all []reading) {
	for _, a := range arrivals {
		if level := strings.Split(a.Topic, "/"); len(level) == 2 {
			all = append(all, decode(level[1], a))
		}
	}
	return all
}

// states are the states of one stream, including those that were retained before.
func states(arrivals []broker.Arrival, stream string) (all []reading) {
	for _, a := range arrivals {
		if a.Topic == clientID+"/"+stream+"/state" {
			all = append(all, decode(stream, a))
		}
	}
	return all
}

func decode(stream string, a broker.Arrival) reading {
	r := reading{stream: stream, at: a.At}
	if err := json.Unmarshal([]byte(a.Payload), &r); err != nil {
		r.Error = fmt.Sprintf("%q: %v", a.Payload, err)
	}
	return r
}

// first are the first arrivals of each key: with at least once delivery there may be more.
func first(all []reading) (unique []reading) {
	seen := map[string]bool{}
	for _, r := range all {
		key := fmt.Sprint(r.stream, " ", r.Boot, " ", r.Seq)
		if !seen[key] {
			unique = append(unique, r)
		}
		seen[key] = true
	}
	return unique
}

// fresh are the first arrivals among those after the first n.
func fresh(all []reading, n int) []reading { return first(all)[len(first(all[:n])):] }

// of are the readings of a stream, in the order of arrival.
func of(all []reading, stream string) []reading {
	return only(all, func(r reading) bool { return r.stream == stream })
}

// since are the readings of one start of the agent.
func since(all []reading, boot string) []reading {
	return only(all, func(r reading) bool { return r.Boot == boot })
}

func only(all []reading, fits func(reading) bool) (some []reading) {
	for _, r := range all {
		if fits(r) {
			some = append(some, r)
		}
	}
	return some
}

// faults lists the errors in the first arrivals of each stream and boot: a missing number,
// or one that arrived after a later one.
func faults(unique []reading) (wrong []string) {
	last := map[string]uint64{}
	for _, r := range unique {
		key := r.Boot + " " + r.stream
		switch before := last[key]; {
		case r.Seq <= before:
			wrong = append(wrong, fmt.Sprintf("%s: %d after %d", key, r.Seq, before))
		case r.Seq != before+1:
			wrong = append(wrong, fmt.Sprintf("%s: %d to %d did not come before %d", key, before+1, r.Seq-1, r.Seq))
		}
		last[key] = max(last[key], r.Seq)
	}
	return wrong
}
