package queue

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/sensors"
)

// TestGapsJoinOnlyWhereTheyAdjoin: what lies between two waits, has arrived, or
// is told by another gap.
func TestGapsJoinOnlyWhereTheyAdjoin(t *testing.T) {
	lost := func(from, to uint64) Gap {
		return Gap{Stream: "room", Boot: "1-00000000", From: from, To: to, Count: to + 1 - from, Why: Dropped}
	}
	for _, c := range []struct {
		add  []Gap
		want string
	}{
		{[]Gap{lost(1, 10), lost(11, 20)}, "[1-20]"},
		{[]Gap{lost(11, 20), lost(1, 10)}, "[1-20]"},
		{[]Gap{lost(1, 10), lost(12, 20)}, "[1-10 12-20]"},
		{[]Gap{lost(12, 20), lost(1, 10)}, "[12-20 1-10]"},
		{[]Gap{lost(12, 20), lost(1, 10), lost(21, 30)}, "[12-30 1-10]"},
		{[]Gap{lost(12, 20), lost(1, 10), lost(11, 11)}, "[1-20]"},
	} {
		var g gaps
		for _, more := range c.add {
			g.add(more)
		}
		if got := spans(t, g.values()); got != c.want {
			t.Errorf("%v become %s, want %s", c.add, got, c.want)
		}
	}
}

// spans are gaps in short; each of them must count all that it spans.
func spans(t *testing.T, list []Gap) string {
	s := []string{}
	for _, g := range list {
		if g.Count != g.To+1-g.From {
			t.Errorf("count of %+v is not all that it spans", g)
		}
		s = append(s, fmt.Sprintf("%d-%d", g.From, g.To))
	}
	return fmt.Sprint(s)
}

// TestGapThatWasHandedOutGrowsOnNeitherSide, in memory or in the file.
func TestGapThatWasHandedOutGrowsOnNeitherSide(t *testing.T) {
	f, err := openFile(queuePath(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	lost := func(from, to uint64) Gap {
		return Gap{Stream: "room", Boot: "1-00000000", From: from, To: to, Count: to + 1 - from, Why: Dropped}
	}
	var g gaps
	g.add(lost(101, 200))
	g.peek(nil, 1, 0, func() Item { return Item{Reading: sensors.Reading{Seq: 1}} })
	var out [2]laneOutcome
	out[0].gaps = []Gap{lost(1, 100), lost(201, 300)}
	err = f.update(func(tx *bbolt.Tx) error { return putGaps(tx, g.values(), out) })
	if err != nil {
		t.Fatal(err)
	}
	k, err := f.loadState([2]uint64{})
	if err != nil {
		t.Fatal(err)
	}
	for _, there := range k.gaps { // as after a commit that failed for all that was known
		g.merge(there)
	}
	if got := spans(t, g.values()); got != "[101-200 1-100 201-300]" {
		t.Errorf("what the file taught: %s", got)
	}
}

// TestGapOfARunStopsAtAHole: another gap tells of it, that of readings which
// found no room in memory.
func TestGapOfARunStopsAtAHole(t *testing.T) {
	r := run{}
	for i := range uint64(320) {
		it := Item{Boot: "1-00000000", number: i + 1, Reading: routine(i + 1)}
		if i >= 160 {
			it.Seq += 50
		}
		it.Value = float64(i * 7919 % 101)
		r.items = append(r.items, it)
	}
	if got := spans(t, gapsOf(r)); got != "[1-160 211-370]" {
		t.Errorf("dropped: %s", got)
	}
	less := thin(r)
	var rec recorder
	rec.take(less.items)
	rec.gaps = less.gaps
	if len(less.gaps) != 2 || less.gaps[0].To > 160 || less.gaps[1].From < 211 {
		t.Errorf("thinned: %+v", less.gaps)
	}
	rec.check(t, nil) // each counts exactly what it spans and did not come
	if got := spans(t, gapsOf(less)); got != "[1-160 211-370]" {
		t.Errorf("thinned, then dropped: %s", got)
	}
}

// TestMemoryThatOverflowsBeforeTheDiskLeavesTwoGaps: what is on a disk that
// fails is older than what is lost meanwhile, and may be lost later.
func TestMemoryThatOverflowsBeforeTheDiskLeavesTwoGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		seq := uint64(0)
		put := func(n int) {
			for range n {
				seq++
				h.Put(routine(seq))
				time.Sleep(20 * time.Millisecond)
			}
		}
		put(10_000)
		time.Sleep(6 * time.Second) // so that all is on disk
		breakDisk(t, h)
		put(maxInMemory + 1000)
		mendDisk(t, h)
		r := recorder{}
		for size := int64(150_000); size > 10_000; size -= 10_000 { // a little more is lost each time
			h.opt.MaxSize = size
			put(500)
			time.Sleep(6 * time.Second)
			h.mu.Lock()
			gaps := h.gaps.peek(nil, 9, 0, func() Item { return h.eventLocked(stamp()) })
			h.mu.Unlock()
			r.take(gaps)
			h.Ack(gaps)
		}
		r.take(h.all(t))
		r.check(t, map[string]uint64{"room": seq})
	})
}

// TestDamageIsDeclaredWhereNoOtherGapTells of the numbers.
func TestDamageIsDeclaredWhereNoOtherGapTells(t *testing.T) {
	lost := func(from, to uint64) Gap {
		return Gap{Stream: "room", Boot: "1-00000000", From: from, To: to, Count: to + 1 - from, Why: Dropped}
	}
	next := run{items: []Item{{Boot: "1-00000000", Reading: routine(101)}}}
	for _, c := range []struct {
		told []Gap
		want string
	}{
		{nil, "[11-100]"},
		{[]Gap{lost(41, 60)}, "[11-40 61-100]"},
		{[]Gap{lost(81, 120), lost(1, 20), lost(15, 30)}, "[31-80]"},
		{[]Gap{lost(11, 100)}, "[]"},
		{[]Gap{lost(200, 300)}, "[11-100]"},
	} {
		s := seqs{{boot: "1-00000000", stream: "room"}: 10}
		if got := spans(t, s.missing(next, c.told)); got != c.want {
			t.Errorf("besides %v: %s, want %s", c.told, got, c.want)
		}
	}
}

// TestWhatWentFromMemoryIsNoDamage: what a damaged block has taken is told from
// the numbers that were seen before, and these need not have been on disk.
func TestWhatWentFromMemoryIsNoDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		r := recorder{}
		seq := uint64(0)
		put := func(n int, link bool) {
			for range n {
				seq++
				h.Put(routine(seq))
				time.Sleep(10 * time.Millisecond)
				if link {
					r.take(h.all(t))
				}
			}
		}
		put(4000, false)
		put(1000, true)
		put(4000, false)
		time.Sleep(5 * time.Second)
		damageBlock(t, h.Queue, 0)
		r.take(h.all(t))
		r.check(t, map[string]uint64{"room": seq})
		if len(r.gaps) != 1 || r.gaps[0].Why != Damaged || r.gaps[0].From != 5001 {
			t.Errorf("gaps %+v, want one of the block that was damaged", r.gaps)
		}
	})
}
