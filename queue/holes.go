package queue

import (
	"maps"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors"
)

// What damage has taken is computed once, from all that a file still holds, and
// stored as gaps in the file that takes its place: a mark in memory would be
// lost at the next start.

// An edge is the part of a stream that a block accounts for: its first and last seq
// there, with what was thinned out. The numbers between them are there, or in a gap
// of the block.
type edge struct {
	stream      int // index in salvager.streams
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

// ackedSeqs is, for each stream that this start has issued, the seq before the
// first that is not acknowledged.
func (l *lane) ackedSeqs() seqs {
	if l.cache.seqs == nil {
		return nil
	}
	known := seqs{}
	for k, seq := range l.cache.seqs {
		known[streamKey{boot: k.boot, stream: k.stream}] = seq
	}
	for _, it := range slices.Backward(l.cache.head) {
		if it.Event == "" {
			known[streamKey{boot: it.Boot, stream: it.Stream}] = it.Seq - 1
		}
	}
	return known
}

// seqs are the last numbers that were seen of each stream of a lane, in the
// order of the lane.
type seqs map[streamKey]uint64

// observeRun takes note of the readings of a run.
func (s *seqs) observeRun(r run) {
	if *s == nil {
		*s = seqs{}
	}
	for i := range r.items {
		if it := &r.items[i]; it.Event == "" {
			(*s)[streamKey{boot: it.Boot, stream: it.Stream}] = it.Seq
		}
	}
}

// set takes note of one reading.
func (s *seqs) set(boot, stream string, seq uint64) {
	if *s == nil {
		*s = seqs{}
	}
	(*s)[streamKey{boot: boot, stream: stream}] = seq
}

// missing declares what damage has taken between the numbers seen and a run,
// less what is declared. What was missing before the first reading that was
// seen of a stream cannot be known.
func (s seqs) missing(r run, declared []Gap) (gaps []Gap) {
	seen := maps.Clone(s)
	for i := range r.items {
		it := &r.items[i]
		if it.Event != "" {
			continue
		}
		last, known := seen[streamKey{boot: it.Boot, stream: it.Stream}]
		if known && it.Seq > last+1 {
			hole := Gap{Stream: it.Stream, Boot: it.Boot, From: last + 1, To: it.Seq - 1, Why: Damaged}
			gaps = append(gaps, hole.without(r.gaps, declared)...)
		}
		if known {
			seen[streamKey{boot: it.Boot, stream: it.Stream}] = it.Seq
		}
	}
	return gaps
}

// declareDamageLocked declares what damaged blocks before a run have taken.
func (b *backlog) declareDamageLocked(l *lane, r run, damaged int) {
	if damaged > 0 {
		b.reportLocked("storage", b.opt.Clock.Now(), jsonObject("state", "damaged", "blocks", damaged))
	}
	if damaged > 0 || l.disk.suspect {
		for _, g := range l.cache.seqs.missing(r, b.gaps.values()) {
			b.gaps.add(g)
		}
	}
	l.cache.seqs.observeRun(r)
}

// A file that is lost while the agent runs takes readings with it that were not
// read since they were written. How many is known all the same: the streams of a
// start begin at 1, and what is in memory follows what is lost.
//
// All under Queue.mu. acked and firstKept are set together, by detachLocked, and
// cleared when a file is open again.
type streamHistory struct {
	put        seqs // the newest readings that were put in this start
	startAfter seqs // what came before the first of these, of the streams of another start
	acked      seqs // what was acknowledged when the queue went on without its file
	firstKept  seqs // the first numbers that were in memory then
}

// observe takes note of a reading that was put. Those of another start were left by
// the queue of before, or adopted: what came before them may have arrived.
func (p *streamHistory) observe(it Item, boot string) {
	if _, known := p.put[streamKey{boot: it.Boot, stream: it.Stream}]; !known && it.Boot != boot {
		p.startAfter.set(it.Boot, it.Stream, it.Seq-1)
	}
	p.put.set(it.Boot, it.Stream, it.Seq)
}

// ackedLocked is what this start knows to be acknowledged of a lane. Of a stream
// that began in this start, that may be nothing.
func (b *backlog) ackedLocked(l *lane) seqs {
	if b.opened.detached {
		return l.history.acked
	}
	known := l.ackedSeqs()
	if known == nil {
		known = seqs{}
	}
	for k := range l.history.put {
		if _, ok := known[k]; !ok {
			known[k] = l.history.startAfter[k] // 0 of a stream of this start
		}
	}
	return known
}

// firsts are the first numbers in memory of each stream; of a stream that has none
// there, the number after the last one that was put.
func (l *lane) firsts() seqs {
	first := seqs{}
	for k, newest := range l.history.put {
		first[k] = newest + 1
	}
	items := l.mem.items()
	for i := len(items) - 1; i >= 0; i-- {
		if it := &items[i]; it.Event == "" {
			first.set(it.Boot, it.Stream, it.Seq)
		}
	}
	return first
}

// declareEndLocked declares what is missing between the last readings that a
// damaged or lost file has, and what was in memory.
func (b *backlog) declareEndLocked(ends [2]seqs) {
	for p := range b.lanes {
		l := &b.lanes[p]
		follow := l.history.firstKept
		if follow == nil {
			follow = l.firsts()
		}
		declared := b.gaps.values()
		for k, first := range follow {
			last, known := ends[p][k]
			if !known || last+1 >= first {
				continue
			}
			hole := Gap{Stream: k.stream, Boot: k.boot, From: last + 1, To: first - 1, Why: Damaged}
			for _, g := range hole.without(declared) {
				b.gaps.add(g)
			}
		}
		l.history.acked, l.history.firstKept = nil, nil
	}
}
