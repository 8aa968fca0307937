package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"go.etcd.io/bbolt"
)

// TestGapsJoinOnlyWhereTheyAdjoin: what lies between two waits, has arrived, or
// is in another gap.
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

// TestIssuedGapDoesNotGrow, in memory or in the file.
func TestIssuedGapDoesNotGrow(t *testing.T) {
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
	g.peek(nil, 1, 0, func(Gap) Item { return Item{Reading: sensors.Reading{Seq: 1}} })
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
			gaps := h.gaps.peek(nil, 9, 0, h.gapEventLocked)
			h.mu.Unlock()
			r.take(gaps)
			h.Ack(gaps)
		}
		r.take(h.all(t))
		r.check(t, map[string]uint64{"room": seq})
	})
}

// TestDamageIsDeclaredUnlessItIsInAnotherGap of the numbers.
func TestDamageIsDeclaredUnlessItIsInAnotherGap(t *testing.T) {
	lost := func(from, to uint64) Gap {
		return Gap{Stream: "room", Boot: "1-00000000", From: from, To: to, Count: to + 1 - from, Why: Dropped}
	}
	next := run{items: []Item{{Boot: "1-00000000", Reading: routine(101)}}}
	for _, c := range []struct {
		declared []Gap
		want     string
	}{
		{nil, "[11-100]"},
		{[]Gap{lost(41, 60)}, "[11-40 61-100]"},
		{[]Gap{lost(81, 120), lost(1, 20), lost(15, 30)}, "[31-80]"},
		{[]Gap{lost(11, 100)}, "[]"},
		{[]Gap{lost(200, 300)}, "[11-100]"},
	} {
		s := seqs{{boot: "1-00000000", stream: "room"}: 10}
		if got := spans(t, s.missing(next, c.declared)); got != c.want {
			t.Errorf("besides %v: %s, want %s", c.declared, got, c.want)
		}
	}
}

// TestReadingsDroppedFromMemoryAreNotDamage: the loss of a damaged block is found by the seqs
// that were seen before, which need not have been on disk.
func TestReadingsDroppedFromMemoryAreNotDamage(t *testing.T) {
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

// blockPages are the offsets of the pages with reachable routine blocks, in the
// order of the lane.
func blockPages(t *testing.T, path string) (offsets []int64) {
	t.Helper()
	file, size, err := openSized(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reachable, err := scanDamaged(path)
	if err != nil {
		t.Fatal(err)
	}
	first := map[int64]uint64{}
	_, err = pages.Scan(file, size, func(page uint64, key, value []byte) {
		if p, sp, ok := spanOf(value); ok && p == sensors.Routine && reachable.contains(p, sp) && number(key) == sp.last {
			first[int64(page)*pageSize] = sp.first
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.SortedFunc(maps.Keys(first), func(a, b int64) int { return cmp.Compare(first[a], first[b]) })
}

// rotten is a file with 20,000 readings of two streams, of which a page in the
// middle is lost.
func rotten(t *testing.T, path string) {
	t.Helper()
	b := slowlyFilled(t)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	pages := blockPages(t, path)
	zero(t, path, pages[len(pages)/2])
}

// zero clears a page.
func zero(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(make([]byte, pageSize), off)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// slowlyFilled is a file with many small blocks, so that a page holds several.
func slowlyFilled(t *testing.T) []byte {
	t.Helper()
	path := queuePath(t)
	synctest.Test(t, func(t *testing.T) {
		h := start(t, path)
		for seq := range uint64(20_000) {
			h.Put(routine(seq + 1))
			if seq%10 == 0 {
				r := routine(seq/10 + 1)
				r.Stream = "cellar"
				h.Put(r)
			}
			time.Sleep(20 * time.Millisecond)
		}
		h.end()
	})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// openOnly opens a queue that no writer runs for, and lets go of it.
func openOnly(t *testing.T, path string) {
	t.Helper()
	q, err := Open(Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Second}, slog.New(slog.DiscardHandler))
	if err == nil {
		err = q.opened.file.close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// drained is what a start issues, and the events among it.
func drained(t *testing.T, path string) (r recorder, events []string) {
	t.Helper()
	h := start(t, path)
	items := h.all(t)
	r.take(items)
	h.end()
	for _, it := range items {
		if it.Event != "" && it.Event != gapEvent {
			events = append(events, it.Event+" "+it.Details)
		}
	}
	return r, events
}

func wantOne(t *testing.T, events []string, sort string) {
	t.Helper()
	n := 0
	for _, e := range events {
		if len(e) > len(sort) && e[:len(sort)] == sort {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events %s among %q, want 1", n, sort, events)
	}
}

// TestSalvageLossIsDeclaredAfterARestart: the agent ends before it has
// drained what it salvaged, or before it has written anything at all.
func TestSalvageLossIsDeclaredAfterARestart(t *testing.T) {
	for _, some := range []int{0, 500, 9000} {
		t.Run(fmt.Sprint(some), func(t *testing.T) {
			path := queuePath(t)
			rotten(t, path)
			var r recorder
			if some == 0 {
				openOnly(t, path)
			} else {
				h := start(t, path)
				for range some / 20 {
					items, err := h.next(t.Context(), 20)
					if err = errors.Join(err, h.Ack(items)); err != nil {
						t.Fatal(err)
					}
					r.take(items)
				}
				h.end()
			}
			after, events := drained(t, path)
			for stream, seen := range after.seen {
				for seq := range seen {
					if r.seen[stream] == nil {
						r.take([]Item{{Reading: sensors.Reading{Stream: stream, Seq: seq}}})
					}
					r.seen[stream][seq] = true
				}
			}
			r.gaps = append(r.gaps, after.gaps...)
			r.check(t, map[string]uint64{"room": 20_000, "cellar": 2000})
			if !slices.ContainsFunc(r.gaps, func(g Gap) bool { return g.Why == Damaged && g.Count >= 512 }) {
				t.Errorf("no large gap: %+v", r.gaps)
			}
			if some == 0 {
				wantOne(t, events, "quarantine")
			}
		})
	}
}

// TestPowerCutBetweenTheRenamesKeepsTheDeclaration: the damaged file has its
// new name, and the salvaged one has not.
func TestPowerCutBetweenTheRenamesKeepsTheDeclaration(t *testing.T) {
	path := queuePath(t)
	rotten(t, path)
	openOnly(t, path)
	if err := os.Rename(path, path+".salvaged"); err != nil {
		t.Fatal(err)
	}
	r, events := drained(t, path)
	r.check(t, map[string]uint64{"room": 20_000, "cellar": 2000})
	wantOne(t, events, "quarantine")
}

// TestDamageUnderARunningAgentIsDeclared: at the front of the file, where only
// this start knows what came before, and at its end, behind which memory goes on.
func TestDamageUnderARunningAgentIsDeclared(t *testing.T) {
	for _, where := range []string{"front", "end"} {
		t.Run(where, func(t *testing.T) {
			path := queuePath(t)
			synctest.Test(t, func(t *testing.T) {
				h := start(t, path)
				var r recorder
				put := func(from, to uint64) {
					for seq := from; seq <= to; seq++ {
						h.Put(routine(seq))
						time.Sleep(20 * time.Millisecond)
					}
				}
				put(1, 9000)
				for range 10 {
					items, err := h.next(context.Background(), 20)
					if err = errors.Join(err, h.Ack(items)); err != nil {
						t.Fatal(err)
					}
					r.take(items)
				}
				pages := blockPages(t, path)
				off := pages[0]
				if where == "end" {
					off = pages[len(pages)-1]
				}
				zero(t, path, off)
				h.opened.file.db.Close() // as after a commit that failed
				put(9001, 12_000)
				h.end()
				after, _ := drained(t, path)
				for seq := range after.seen["room"] {
					r.seen["room"][seq] = true
				}
				r.gaps = append(r.gaps, after.gaps...)
				r.check(t, map[string]uint64{"room": 12_000})
			})
		})
	}
}

// TestADamagedBlockIsDeclaredAtTheNextStart: the structure is intact, and the start that finds
// the damage ends before it has read the neighbours of the block.
func TestADamagedBlockIsDeclaredAtTheNextStart(t *testing.T) {
	path := queuePath(t)
	if err := os.WriteFile(path, slowlyFilled(t), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := scanDamaged(path)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, path, bucketLanes[sensors.Routine], 3)
	flip(t, path, bucketTails[sensors.Routine], 1)
	openOnly(t, path)
	h := start(t, path)
	var r recorder
	for left := int(before.spans[sensors.Routine][1].last); left > 0; { // all up to the block before
		items, err := h.next(t.Context(), min(left, 20))
		if err = errors.Join(err, h.Ack(items)); err != nil {
			t.Fatal(err)
		}
		left -= len(r.take(items))
	}
	h.end()
	after, events := drained(t, path)
	r.gaps = append(r.gaps, after.gaps...)
	n := 0
	for _, g := range r.gaps {
		if g.Why != Damaged {
			t.Errorf("a gap of %s", g.Why)
		}
		n += int(g.Count)
	}
	if n < 100 || n > 1024 {
		t.Errorf("gaps of %d readings, want those of one block: %+v", n, r.gaps)
	}
	for seq := uint64(1); seq < 10_000; seq++ {
		covered := slices.ContainsFunc(r.gaps, func(g Gap) bool {
			return g.Stream == "room" && g.From <= seq && seq <= g.To
		})
		if !r.seen["room"][seq] && !after.seen["room"][seq] && !covered {
			t.Fatalf("room %d never came and no gap says so", seq)
		}
	}
	if len(events) != 0 {
		t.Errorf("events again: %q", events)
	}
}

// TestDamageAtTheEndOfTheBlocks is found while items before it are in flight: it does not
// wait for ever, and a gap declares it, with a newer reading in memory or without.
func TestDamageAtTheEndOfTheBlocks(t *testing.T) {
	for _, newer := range []uint64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, queuePath(t))
			defer h.end()
			putMany(h, 1, 2*blockItems)
			time.Sleep(6 * time.Second)
			damageBlock(t, h.Queue, 1)
			putMany(h, 2*blockItems+1, 2*blockItems+newer)
			var c Cursor
			items, err := h.Peek(&c, 3*blockItems)
			if err != nil {
				t.Fatal(err)
			}
			h.Ack(items)
			r := recorder{}
			r.take(items)
			if newer > 0 {
				r.take(h.all(t))
			}
			for range 9 {
				more, err := h.Peek(&Cursor{}, 9)
				if err != nil {
					t.Fatal(err)
				}
				r.take(more)
				h.Ack(more)
			}
			if n := h.Stats().Backlog; n != 0 {
				t.Errorf("%d wait, with %d newer", n, newer)
			}
			want := Gap{Stream: "room", Boot: h.Boot(), From: blockItems + 1, To: 2 * blockItems, Count: blockItems,
				Why: Damaged}
			if len(r.gaps) != 1 || r.gaps[0] != want {
				t.Errorf("gaps %+v, want %+v, with %d newer", r.gaps, want, newer)
			}
		})
	}
}

// flip changes a bit in the n-th value of a bucket.
func flip(t *testing.T, path string, bucket []byte, n int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		k, v := c.First()
		for range n - 1 {
			k, v = c.Next()
		}
		v = slices.Clone(v)
		v[len(v)-2] ^= 4
		return tx.Bucket(bucket).Put(slices.Clone(k), v)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestSecondDamageAtTheEndDeclaresNothingTwice: the gap of the first damage was delivered, so
// only the position of the lane says that its readings are declared.
func TestSecondDamageAtTheEndDeclaresNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		r := recorder{}
		putMany(h, 1, 2*blockItems)
		time.Sleep(6 * time.Second)
		damageBlock(t, h.Queue, 1)
		r.take(h.all(t))
		time.Sleep(2 * time.Minute)
		putMany(h, 2*blockItems+1, 3*blockItems)
		time.Sleep(6 * time.Second)
		damageBlock(t, h.Queue, 0)
		r.take(h.all(t))
		n := uint64(len(r.seen["room"]))
		for _, g := range r.gaps {
			n += g.Count
		}
		if n != 3*blockItems {
			t.Errorf("%d of %d readings are accounted for: %+v", n, 3*blockItems, r.gaps)
		}
	})
}
