package queue

import (
	"errors"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"go.etcd.io/bbolt"
)

// laneOutcome is what a commit evicted from a lane.
type laneOutcome struct {
	removed int         // readings
	last    clock.Stamp // of the newest reading that was dropped with its block; zero: none
	damaged int         // dropped blocks that could not be read
	seqs    seqs        // of the last readings that were dropped or acknowledged
	gaps    []Gap       // of dropped readings; gaps of thinned readings stay in their block
}

// An evictor makes room. First it thins out the oldest routine readings. When only the
// newest quarter of them is not thinned, it drops the oldest blocks.
//
// It is made for one transaction and used by the writer's goroutine. Its results are
// valid only if the transaction succeeds.
type evictor struct {
	tx      *bbolt.Tx
	issued  [2]uint64 // by lane: readings up to this number were issued, and are kept
	suspect [2]bool   // by lane: damage may have removed readings without a gap
	size    int64     // bytes of all blocks and rejected items, updated with each eviction
	thinned uint64    // the key up to which the routine lane is thinned out
	out     [2]laneOutcome
}

// evict evicts what exceeds the limits in a change.
func (e *evictor) evict(c change) error {
	err := e.evictOlderThan(c.dropBefore)
	if c.purge {
		return errors.Join(err, e.evictAll())
	}
	return errors.Join(err, e.evictToSize(c.max))
}

// evictToSize evicts until the size is at most max bytes, or nothing may be evicted any
// more. It thins out routine readings, then drops routine readings, then alarms.
func (e *evictor) evictToSize(max int64) error {
	for e.size > max {
		done, err := e.thinOldest()
		if err == nil && !done {
			done, err = e.dropOldestOfAll()
		}
		if err != nil || !done {
			return err
		}
	}
	return nil
}

// evictAll drops every block that was not issued.
func (e *evictor) evictAll() error {
	for {
		if done, err := e.dropOldestOfAll(); err != nil || !done {
			return err
		}
	}
}

// dropOldestOfAll drops the oldest routine block or, if there is none that may be dropped,
// the oldest block of alarms.
func (e *evictor) dropOldestOfAll() (done bool, err error) {
	done, err = e.dropOldest(sensors.Routine)
	if err == nil && !done {
		done, err = e.dropOldest(sensors.Alarm)
	}
	return done, err
}

// evictOlderThan drops the oldest blocks of both lanes if all their readings are older
// than a Unix time in ms.
func (e *evictor) evictOlderThan(before int64) error {
	for p := range bucketLanes {
		for {
			k, v := e.tx.Bucket(bucketLanes[p]).Cursor().First()
			r, err := decode(v)
			if k == nil || err != nil || r.items[0].number <= e.issued[p] || !allBefore(r.items, before) {
				break
			}
			if _, err := e.dropOldest(sensors.Priority(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// allBefore reports whether all readings are older than a Unix time in ms. A reading
// without a synchronized clock never is, because its time may be wrong.
func allBefore(items []Item, before int64) bool {
	return !slices.ContainsFunc(items, func(it Item) bool {
		return it.At.Clock != clock.Synced || it.At.Unix >= before
	})
}

// minTrusted is how long the clock must have been synchronized, without a step, before
// readings are evicted by their age.
const minTrusted = time.Hour

// thinOldest thins out the oldest two routine blocks that are not thinned yet, and merges
// them into one. It reports false if only the newest quarter is left.
func (e *evictor) thinOldest() (done bool, err error) {
	b := e.tx.Bucket(bucketLanes[sensors.Routine])
	c := b.Cursor()
	oldest, _ := c.First()
	newest, _ := c.Last()
	if newest == nil {
		return false, nil
	}
	// The newest quarter is not thinned, because people look at the latest readings.
	limit := number(oldest) + (number(newest)-number(oldest))/4*3
	from := max(e.thinned, e.issued[sensors.Routine]) + 1
	var r run
	var keys []uint64
	for k, v := c.Seek(key(from)); k != nil && number(k) <= limit && len(keys) < 2; k, v = c.Next() {
		part, err := decode(v)
		issued := err == nil && part.items[0].number <= e.issued[sensors.Routine]
		// A block is thinned only once, so that the loop in evictToSize ends.
		if err != nil || issued || part.thinned || len(r.items)+len(part.items) > blockItems {
			if len(keys) > 0 {
				break
			}
			e.thinned = number(k)
			continue
		}
		r.items, r.gaps = append(r.items, part.items...), append(r.gaps, part.gaps...)
		keys = append(keys, number(k))
		e.size -= int64(len(v))
	}
	if len(keys) == 0 {
		return false, nil
	}
	return true, e.replace(b, keys, r)
}

// replace thins a run and replaces the blocks that it came from by one block.
func (e *evictor) replace(b *bbolt.Bucket, keys []uint64, r run) error {
	for _, k := range keys {
		if err := b.Delete(key(k)); err != nil {
			return err
		}
	}
	thinned := thin(r)
	data := encode(thinned)
	e.thinned = thinned.last()
	e.size += int64(len(data))
	e.out[sensors.Routine].removed += len(r.items) - len(thinned.items)
	return b.Put(key(thinned.last()), data)
}

// dropOldest drops the oldest block of a lane of which nothing was issued, and reports
// false if there is none.
func (e *evictor) dropOldest(p sensors.Priority) (done bool, err error) {
	b := e.tx.Bucket(bucketLanes[p])
	c := b.Cursor()
	for k, v := c.Seek(key(e.issued[p] + 1)); k != nil; k, v = c.Next() {
		r, err := decode(v)
		if err == nil && r.items[0].number <= e.issued[p] {
			continue // part of it was issued
		}
		e.size -= int64(len(v))
		if err == nil {
			e.dropped(p, r)
		} else {
			e.out[p].damaged++
		}
		return true, b.Delete(append([]byte(nil), k...))
	}
	return false, nil
}

// dropped adds gaps for the readings of a dropped block. If blocks before it were damaged,
// it also adds gaps for the seqs between their neighbours.
func (e *evictor) dropped(p sensors.Priority, r run) {
	out := &e.out[p]
	out.removed += len(r.items)
	out.last = r.items[len(r.items)-1].At
	var all gaps
	for _, g := range out.gaps {
		all.add(g)
	}
	if e.suspect[p] || out.damaged > 0 {
		for _, g := range out.seqs.missing(r, out.gaps) {
			all.add(g)
		}
	}
	for _, g := range gapsOf(r) {
		all.add(g)
	}
	out.gaps = all.values()
	out.seqs.observeRun(r)
}

// thinGroup is how many successive readings of a stream are thinned together: their lowest
// and highest are kept.
const thinGroup = 16

// thin removes every second reading from a run. It keeps failures, states, events, and the
// lowest and highest of each thinGroup readings of a stream, so that a chart of what is
// left has the same shape.
func thin(r run) run {
	keep := make([]bool, len(r.items))
	streams := map[streamKey][]int{}
	for i := range r.items {
		it := &r.items[i]
		if it.Err != "" || it.State != "" || it.Event != "" {
			keep[i] = true
			continue
		}
		k := streamKey{boot: it.Boot, stream: it.Stream}
		streams[k] = append(streams[k], i)
	}
	for _, places := range streams {
		for len(places) > 0 {
			n := min(thinGroup, len(places))
			markKept(r.items, places[:n], keep)
			places = places[n:]
		}
	}
	return keepOnly(r, keep)
}

// markKept marks in keep which of the readings at some indexes, all of one stream, are
// kept: every second, the lowest and the highest.
func markKept(items []Item, places []int, keep []bool) {
	low, high := places[0], places[0]
	for n, i := range places {
		if items[i].Value < items[low].Value {
			low = i
		}
		if items[i].Value > items[high].Value {
			high = i
		}
		keep[i] = n%2 == 0
	}
	keep[low], keep[high] = true, true
}

// keepOnly returns a run with the readings that keep marks, and with gaps for the others.
// One gap may span readings that are kept. It ends where seqs were missing before, because
// those are in another gap.
func keepOnly(r run, keep []bool) run {
	kept := run{gaps: slices.Clone(r.gaps), thinned: true}
	last := seqs{}
	open := map[streamKey]int{} // 1 + the index of the stream's current gap; 0: none
	for i := range r.items {
		it := &r.items[i]
		k := streamKey{boot: it.Boot, stream: it.Stream}
		if it.Seq != last[k]+1 {
			open[k] = 0
		}
		last[k] = it.Seq
		switch g := open[k]; {
		case keep[i]:
			kept.items = append(kept.items, *it)
		case g > 0:
			kept.gaps[g-1].join(it.lost(Thinned))
		default:
			kept.gaps = append(kept.gaps, it.lost(Thinned))
			open[k] = len(kept.gaps)
		}
	}
	return kept
}
