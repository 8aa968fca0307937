package queue

import (
	"slices"

	"github.com/holdfast-iot/holdfast/sensors"
)

// What damage has taken is computed once, from all that a file still holds, and
// stored as gaps in the file that takes its place: a mark in memory would be
// lost at the next start.

// An edge is the part of a stream that a block accounts for: its first and last
// seq there, with what was thinned out.
type edge struct {
	stream      int // index in find.streams
	first, last uint64
}

// edgesOf are those of a run.
func (s *salvager) edgesOf(r run) (edges []edge) {
	at := map[int]int{}
	widen := func(boot, stream string, from, to uint64) {
		n := int(s.streams.index(streamKey{boot: boot, stream: stream}))
		i, known := at[n]
		if !known {
			at[n] = len(edges)
			edges = append(edges, edge{n, from, to})
			return
		}
		edges[i].first, edges[i].last = min(edges[i].first, from), max(edges[i].last, to)
	}
	for i := range r.items {
		if it := &r.items[i]; it.Event == "" {
			widen(it.Boot, it.Stream, it.Seq, it.Seq)
		}
	}
	for _, g := range r.gaps {
		widen(g.Boot, g.Stream, g.From, g.To)
	}
	return edges
}

// seenAt is the last seq that was seen of a stream, and how many holes the
// numbers of the lane had up to there.
type seenAt struct {
	seq   uint64
	holes int
}

// missing declares what damage has taken between the blocks of a lane. acked is
// what is known of the readings before the first block: of a stream that is not
// in it, the loss before its first reading cannot be known. A block is intact
// or lost as a whole, so a stream has lost readings only where the numbers of
// the lane have a hole, too.
func (s *salvager) missing(p sensors.Priority, acked seqs) (lost []Gap) {
	seen := map[int]seenAt{}
	for k, seq := range acked {
		seen[int(s.streams.index(streamKey{boot: k.boot, stream: k.stream}))] = seenAt{seq: seq}
	}
	holes, next := 0, uint64(1)
	for _, sp := range s.spans[p] {
		if sp.first > next {
			holes++
		}
		next = sp.last + 1
		for _, e := range sp.edges {
			before, known := seen[e.stream]
			if known && before.holes < holes && e.first > before.seq+1 {
				k := s.streams.list[e.stream]
				hole := Gap{Stream: k.stream, Boot: k.boot, From: before.seq + 1, To: e.first - 1, Why: Damaged}
				lost = append(lost, hole.without(s.gaps)...)
			}
			seen[e.stream] = seenAt{max(e.last, before.seq), holes}
		}
	}
	s.ends[p] = seqs{}
	for n, at := range seen {
		k := s.streams.list[n]
		s.ends[p][streamKey{boot: k.boot, stream: k.stream}] = at.seq
	}
	return lost
}

// declare adds to the gaps what damage has taken from both lanes, and returns
// how many readings that is.
func (s *salvager) declare(acked [2]seqs) (n uint64) {
	var lost []Gap
	for p := range s.spans {
		lost = append(lost, s.missing(sensors.Priority(p), acked[p])...)
	}
	for _, g := range lost {
		n += g.Count
	}
	s.gaps = slices.Concat(s.gaps, lost)
	return n
}

// ackedSeqs is, for each stream that this start has handed out, the seq before the
// first that is not acknowledged.
func (l *lane) ackedSeqs() seqs {
	if l.seqs == nil {
		return nil
	}
	known := seqs{}
	for k, seq := range l.seqs {
		known[streamKey{boot: k.boot, stream: k.stream}] = seq
	}
	for _, it := range slices.Backward(l.head) {
		if it.Event == "" {
			known[streamKey{boot: it.Boot, stream: it.Stream}] = it.Seq - 1
		}
	}
	return known
}
