package queue

import (
	"errors"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"go.etcd.io/bbolt"
)

// laneOutcome is what a commit did to a lane beside the change: what it evicted.
type laneOutcome struct {
	removed int         // readings
	last    clock.Stamp // of the newest reading that was dropped, in a lane whose oldest ones go; zero: none
	damaged int         // blocks that went and could not be read
	seqs    seqs        // of the last readings that went, and of those acknowledged before
	gaps    []Gap       // what went, as far as it is final: thinned ones stay with their block
}

// evictor makes room: it thins out the oldest routine readings first, and
// drops what is oldest when all but the newest quarter is thinned out.
//
// It lives in one transaction, in the writer's goroutine. What it has counted
// becomes the file's only if the transaction succeeds.
type evictor struct {
	tx      *bbolt.Tx
	issued  [2]uint64 // by lane: readings up to here were issued, and stay
	suspect [2]bool   // by lane: readings may be missing without a trace
	size    int64     // bytes of all blocks and of what was rejected, as it shrinks
	thinned uint64    // the key up to which the routine lane is thinned out
	out     [2]laneOutcome
}

// evict removes what a change allows.
func (e *evictor) evict(c change) error {
	err := e.evictOlderThan(c.dropBefore)
	if c.purge {
		return errors.Join(err, e.evictAll())
	}
	return errors.Join(err, e.evictToSize(c.max))
}

// evictToSize makes the blocks fit into max bytes, as far as they may go: it
// thins out routine readings, then drops routine readings, then alarms.
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

// dropOldestOfAll drops a routine block or, if none may go, one of alarms.
func (e *evictor) dropOldestOfAll() (done bool, err error) {
	done, err = e.dropOldest(sensors.Routine)
	if err == nil && !done {
		done, err = e.dropOldest(sensors.Alarm)
	}
	return done, err
}

// evictOlderThan drops the oldest blocks of both lanes whose readings are all from
// before a time, in ms, by a clock that could be trusted.
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

// allBefore reports whether all readings are from before a time, in ms, by a clock
// that could be trusted. One that could not be trusted has no age.
func allBefore(items []Item, before int64) bool {
	return !slices.ContainsFunc(items, func(it Item) bool {
		return it.At.Clock != clock.Synced || it.At.Unix >= before
	})
}

// minTrusted is how long a clock must have been trusted, without a step, before
// it may tell the age of readings.
const minTrusted = time.Hour

// thinOldest thins out the oldest two routine blocks that are not, and makes one
// of them. It reports false if there are none but the newest quarter.
func (e *evictor) thinOldest() (done bool, err error) {
	b := e.tx.Bucket(bucketLanes[sensors.Routine])
	c := b.Cursor()
	oldest, _ := c.First()
	newest, _ := c.Last()
	if newest == nil {
		return false, nil
	}
	// The newest quarter stays whole: what happened last is what people look at.
	limit := number(oldest) + (number(newest)-number(oldest))/4*3
	from := max(e.thinned, e.issued[sensors.Routine]) + 1
	var r run
	var keys []uint64
	for k, v := c.Seek(key(from)); k != nil && number(k) <= limit && len(keys) < 2; k, v = c.Next() {
		part, err := decode(v)
		issued := err == nil && part.items[0].number <= e.issued[sensors.Routine]
		// A thinned block is not thinned again: then only dropping is left, and the
		// loop in evictToSize comes to its end.
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

// replace puts the thinned run in the place of blocks.
func (e *evictor) replace(b *bbolt.Bucket, keys []uint64, r run) error {
	for _, k := range keys {
		if err := b.Delete(key(k)); err != nil {
			return err
		}
	}
	less := thin(r)
	data := encode(less)
	e.thinned = less.last()
	e.size += int64(len(data))
	e.out[sensors.Routine].removed += len(r.items) - len(less.items)
	return b.Put(key(less.last()), data)
}

// dropOldest drops the oldest block of a lane that was not issued, and
// reports false if there is none.
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

// dropped declares what went, and what damaged blocks before it have taken: the
// numbers between the readings that went before and these.
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

// thinRun is how many readings of a stream keep their extremes together.
const thinRun = 16

// thin takes every second reading out of a run, but for the lowest and the
// highest of each sixteen of a stream, failures, states and events: what is
// left has the shape of what was there.
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
			n := min(thinRun, len(places))
			thinPlaces(r.items, places[:n], keep)
			places = places[n:]
		}
	}
	return keepOnly(r, keep)
}

// thinPlaces marks what is kept of the readings at some places, which are of one
// stream: every second, and the lowest and the highest.
func thinPlaces(items []Item, places []int, keep []bool) {
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

// keepOnly is a run with some of its readings, and the gaps that the others
// leave. A gap spans what is kept, but ends where the run has a hole already:
// another gap counts that.
func keepOnly(r run, keep []bool) run {
	less := run{gaps: slices.Clone(r.gaps), thinned: true}
	last := seqs{}
	open := map[streamKey]int{} // place of the stream's gap, from one
	for i := range r.items {
		it := &r.items[i]
		k := streamKey{boot: it.Boot, stream: it.Stream}
		if it.Seq != last[k]+1 {
			open[k] = 0
		}
		last[k] = it.Seq
		switch g := open[k]; {
		case keep[i]:
			less.items = append(less.items, *it)
		case g > 0:
			less.gaps[g-1].join(it.lost(Thinned))
		default:
			less.gaps = append(less.gaps, it.lost(Thinned))
			open[k] = len(less.gaps)
		}
	}
	return less
}
