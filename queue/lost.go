package queue

import "maps"

// A file that is lost under the agent takes readings with it that nobody has
// seen since they were written. How many is known all the same: the streams of a
// start begin at 1, and what is in memory follows what is lost.
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
func (q *Queue) ackedLocked(l *lane) seqs {
	if q.detached {
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

// firsts are the first numbers in memory, and after the last ones of streams that
// have none there.
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

// detachLocked goes on in memory alone, as at a start without a disk. The file
// comes first again when it can be opened.
func (q *Queue) detachLocked() {
	var seen [2]seqs
	for p := range q.lanes {
		seen[p] = maps.Clone(q.ackedLocked(&q.lanes[p]))
	}
	old := q.file
	q.file, q.detached = nil, true
	q.adoptLocked(fileState{lanes: [2]lane{{first: 1, next: 1}, {first: 1, next: 1}}})
	for p := range q.lanes {
		l := &q.lanes[p]
		l.history.acked, l.history.firstKept = seen[p], l.firsts()
	}
	old.close()
	q.log.Error("the queue file can be neither read nor written: what is in it waits, the rest goes on in memory",
		"file", old.path)
}

// declareEndLocked declares what is missing between the last readings that a
// damaged or lost file has, and what was in memory.
func (q *Queue) declareEndLocked(ends [2]seqs) {
	for p := range q.lanes {
		l := &q.lanes[p]
		follow := l.history.firstKept
		if follow == nil {
			follow = l.firsts()
		}
		declared := q.gaps.values()
		for k, first := range follow {
			last, known := ends[p][k]
			if !known || last+1 >= first {
				continue
			}
			hole := Gap{Stream: k.stream, Boot: k.boot, From: last + 1, To: first - 1, Why: Damaged}
			for _, g := range hole.without(declared) {
				q.gaps.add(g)
			}
		}
		l.history.acked, l.history.firstKept = nil, nil
	}
}
