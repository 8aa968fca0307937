package queue

import (
	"maps"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors"
)

// This file finds which readings were lost by damage: it compares the seqs of the intact
// blocks. The losses are stored as gaps in the file at once, because a restart would
// forget a note in memory.

// An edge is the first and last seq of a stream in a block, with readings that were
// thinned out. All seqs between them are in the block or in one of its gaps.
type edge struct {
	stream      int // index in salvager.streams
	first, last uint64
}

// edgesOf returns the edges of a run, one for each stream.
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

// seenAt is the last known seq of a stream, and how many holes the numbers of the lane
// had up to there.
type seenAt struct {
	seq   uint64
	holes int
}

// missing returns gaps for the readings that damage has removed between the blocks of a
// lane. acked has the last acknowledged seqs; a loss before the first reading of a stream
// that is not in it cannot be found. A block is lost as a whole or not at all, so a stream
// has lost readings only where the numbers of the lane have a hole, too.
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

// declare adds to the gaps what both lanes have lost by damage, and returns the number of
// lost readings.
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

// ackedSeqs returns the last acknowledged seq of each stream that was read from the lane
// in this start.
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

// seqs has a seq for each stream of a lane: that of the last reading, unless its user
// says otherwise.
type seqs map[streamKey]uint64

// observeRun records the seqs of the readings of a run.
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

// set records the seq of one stream.
func (s *seqs) set(boot, stream string, seq uint64) {
	if *s == nil {
		*s = seqs{}
	}
	(*s)[streamKey{boot: boot, stream: stream}] = seq
}

// missing returns gaps for the readings that are missing between s and a run and within
// the run, without those that are declared already. A loss in a stream that is not in s
// cannot be found.
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

// declareDamageLocked adds gaps for what was lost with damaged blocks before a run. Without
// items in the run, all blocks up to last are damaged, and what memory holds follows.
func (b *backlog) declareDamageLocked(l *lane, r run, damaged int, last uint64) {
	if damaged > 0 {
		b.reportLocked("storage", b.opt.Clock.Now(), jsonObject("state", "damaged", "blocks", damaged))
	}
	switch {
	case damaged > 0 && len(r.items) == 0 && last < l.disk.lastBlock:
		l.disk.suspect = true // a commit has moved items from memory into blocks: they are read next
	case damaged > 0 && len(r.items) == 0:
		follow := l.firsts()
		b.declareBetweenLocked(l.cache.seqs, follow)
		for k := range l.cache.seqs { // damage that follows must not declare this hole again
			if first, known := follow[k]; known {
				l.cache.seqs[k] = max(l.cache.seqs[k], first-1)
			}
		}
	case damaged > 0 || l.disk.suspect:
		for _, g := range l.cache.seqs.missing(r, b.gaps.values()) {
			b.gaps.add(g)
		}
	}
	l.cache.seqs.observeRun(r)
}

// A streamHistory is what is needed to declare readings that are lost with the file while
// the agent runs, even if they were never read back. The seqs of a start begin at 1, and
// the readings in memory follow those that are lost.
//
// Queue.mu guards it. detachLocked sets acked and firstKept; they are cleared when a file
// is open again.
type streamHistory struct {
	put        seqs // the newest readings that were put in this start
	startAfter seqs // for streams of another start: the seq before the first one put in this start
	acked      seqs // the last acknowledged seqs when the queue lost access to its file
	firstKept  seqs // the first seqs in memory at that moment
}

// observe records a reading that was put. A reading of another start comes from Unsaved
// or from an adoption: those before it may have arrived, so they are not missing.
func (p *streamHistory) observe(it Item, boot string) {
	if _, known := p.put[streamKey{boot: it.Boot, stream: it.Stream}]; !known && it.Boot != boot {
		p.startAfter.set(it.Boot, it.Stream, it.Seq-1)
	}
	p.put.set(it.Boot, it.Stream, it.Seq)
}

// ackedLocked returns the last acknowledged seqs of a lane, as far as this start knows.
// For a stream that began in this start that may be 0.
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
			known[k] = l.history.startAfter[k] // 0 for a stream of this start
		}
	}
	return known
}

// firsts returns the first seq in memory of each stream; for a stream without readings in
// memory, the seq after the last one that was put.
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

// declareEndLocked adds gaps for the readings that are missing between the last seqs in a
// damaged or lost file (ends) and the first seqs in memory.
func (b *backlog) declareEndLocked(ends [2]seqs) {
	for p := range b.lanes {
		l := &b.lanes[p]
		follow := l.history.firstKept
		if follow == nil {
			follow = l.firsts()
		}
		b.declareBetweenLocked(ends[p], follow)
		l.history.acked, l.history.firstKept = nil, nil
	}
}

// declareBetweenLocked adds gaps for the readings that are missing between the last known
// seqs and those that follow. A stream without a last known seq is left out.
func (b *backlog) declareBetweenLocked(ends, follow seqs) {
	declared := b.gaps.values()
	for k, first := range follow {
		last, known := ends[k]
		if !known || last+1 >= first {
			continue
		}
		hole := Gap{Stream: k.stream, Boot: k.boot, From: last + 1, To: first - 1, Why: Damaged}
		for _, g := range hole.without(declared) {
			b.gaps.add(g)
		}
	}
}
