package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// A span has the sequence numbers of one stream of one start of an agent.
type span struct {
	seen     map[uint64]bool
	last     uint64
	twice    int
	disorder int // first arrivals after a higher number
	gaps     []gap
}

type gap struct{ From, To, Count uint64 }

type payload struct {
	Boot   string
	Seq    uint64
	Event  string
	Stream string
	gap
}

// account counts what arrived, prints it by stream, and returns how many numbers below the
// last of their start neither arrived nor are in a gap. Readings that were only in memory
// when a start was killed have higher numbers than the last one, so they do not count.
func account(all []broker.Arrival, w io.Writer) (holes int) {
	spans := map[string]*span{} // by topic and boot
	of := func(topic, boot string) *span {
		k := topic + " " + boot
		if spans[k] == nil {
			spans[k] = &span{seen: map[uint64]bool{}}
		}
		return spans[k]
	}
	for _, a := range all {
		var p payload
		if a.Retained || json.Unmarshal([]byte(a.Payload), &p) != nil {
			continue
		}
		name, rest, _ := strings.Cut(a.Topic, "/")
		switch {
		case rest == "agent/event" && p.Event == "gap":
			s := of(name+"/"+p.Stream, p.Boot)
			s.gaps = append(s.gaps, p.gap)
		case !strings.Contains(rest, "/"):
			of(a.Topic, p.Boot).arrived(p.Seq)
		}
	}
	totals := map[string]*total{}
	for _, k := range slices.Sorted(maps.Keys(spans)) {
		topic, _, _ := strings.Cut(k, " ")
		if from, to, n := spans[k].holes(); n > 0 {
			fmt.Fprintf(w, "%s: %d holes from %d to %d; the last number is %d, gaps %v\n", k, n, from, to,
				spans[k].last, spans[k].gaps)
		}
		if totals[topic] == nil {
			totals[topic] = &total{}
		}
		totals[topic].add(spans[k])
	}
	for _, topic := range slices.Sorted(maps.Keys(totals)) {
		t := totals[topic]
		fmt.Fprintf(w, "%-14s %7d readings of %2d starts arrived, %5d twice, %5d in gaps, %d out of order, %d holes\n",
			topic, t.arrived, t.starts, t.twice, t.declared, t.disorder, t.holes)
		holes += t.holes
	}
	return holes
}

func (s *span) arrived(seq uint64) {
	if s.seen[seq] {
		s.twice++
		return
	}
	if seq < s.last {
		s.disorder++
	}
	s.seen[seq], s.last = true, max(s.last, seq)
}

// holes are the numbers below the last that neither arrived nor are in a gap: the first,
// the last, and their number.
func (s *span) holes() (from, to uint64, n int) {
	for seq := uint64(1); seq < s.last; seq++ {
		in := func(g gap) bool { return g.From <= seq && seq <= g.To }
		if s.seen[seq] || slices.ContainsFunc(s.gaps, in) {
			continue
		}
		if n == 0 {
			from = seq
		}
		to = seq
		n++
	}
	return from, to, n
}

// A total is the sum over all starts of a stream.
type total struct{ starts, arrived, twice, declared, disorder, holes int }

func (t *total) add(s *span) {
	t.starts++
	t.arrived += len(s.seen)
	t.twice += s.twice
	t.disorder += s.disorder
	_, _, holes := s.holes()
	t.holes += holes
	for seq := uint64(1); seq < s.last; seq++ {
		if !s.seen[seq] {
			t.declared++
		}
	}
	t.declared -= holes
}
