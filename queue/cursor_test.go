package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"pgregory.net/rapid"
)

func TestPeekContinuesAtTheCursorAndAlarmsGoFirst(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	for seq := range uint64(5) {
		h.Put(routine(seq + 1))
	}
	var c Cursor
	ahead := func(max int) string {
		items, err := h.Peek(&c, max)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			c.Advance(it)
		}
		return fmt.Sprint(names(items))
	}
	if got := ahead(2); got != "[room1 room2]" {
		t.Errorf("first: %s", got)
	}
	h.Put(alarm(1))
	if got := ahead(2); got != "[door1 room3]" {
		t.Errorf("then, with an alarm: %s", got)
	}
	if got := ahead(9); got != "[room4 room5]" {
		t.Errorf("the rest: %s", got)
	}
	if got := ahead(9); got != "[]" {
		t.Errorf("beyond the end: %s", got)
	}
	c = Cursor{}
	if got := ahead(9); got != "[door1 room1 room2 room3 room4 room5]" {
		t.Errorf("a new session gets %s, want everything again", got)
	}
}

// TestPeekThatReusesItsSliceAllocatesNothing, also after Rewind.
func TestPeekThatReusesItsSliceAllocatesNothing(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	for seq := range uint64(40) {
		h.Put(routine(seq + 1))
	}
	c := Cursor{Reuse: true}
	n := testing.AllocsPerRun(100, func() {
		c.Rewind()
		for range 2 {
			items, err := h.Peek(&c, 20)
			if err != nil || len(items) != 20 {
				t.Fatal(len(items), err)
			}
			c.Advance(items[19])
		}
		if items, _ := h.Peek(&c, 20); len(items) != 0 {
			t.Fatal("beyond the end:", names(items))
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestPeekSkipsNothingAndRepeatsNothing reads ahead while readings move from
// memory to disk under it, and sessions end at any moment.
func TestPeekSkipsNothingAndRepeatsNothing(t *testing.T) {
	seeds := uint64(5)
	if proving {
		seeds = 20
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { readAhead(t, seed) })
	}
}

func readAhead(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	h := start(t, queuePath(t))
	defer h.end()
	c := Cursor{Reuse: seed%2 == 0}
	var flight []Item
	var put, acked, sent [2]uint64 // by priority; sent in this session
	for range 400 {
		switch rnd.IntN(6) {
		case 0, 1:
			for range rnd.IntN(30) {
				p := sensors.Priority(rnd.IntN(8) / 7)
				put[p]++
				if p == sensors.Alarm {
					h.Put(alarm(put[p]))
				} else {
					h.Put(routine(put[p]))
				}
			}
		case 2:
			time.Sleep(time.Duration(rnd.IntN(7000)) * time.Millisecond)
		case 3:
			n := rnd.IntN(len(flight) + 1)
			h.Ack(flight[:n])
			for _, it := range flight[:n] {
				acked[it.Priority] = it.Seq
			}
			flight = flight[n:]
		case 4:
			if rnd.IntN(5) == 0 { // the connection is lost
				c.Rewind()
				flight, sent = nil, acked
			}
		case 5:
			items, err := h.Peek(&c, 1+rnd.IntN(40))
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range items[:rnd.IntN(len(items)+1)] {
				if it.Seq != sent[it.Priority]+1 {
					t.Fatalf("seed %d: %v %d comes after %d", seed, it.Priority, it.Seq, sent[it.Priority])
				}
				sent[it.Priority] = it.Seq
				c.Advance(it)
				flight = append(flight, it)
			}
		}
	}
	for sent != put {
		items, err := h.Peek(&c, 50)
		if err != nil || len(items) == 0 {
			t.Fatalf("seed %d: %v of %v sent, and nothing more comes: %v", seed, sent, put, err)
		}
		for _, it := range items {
			sent[it.Priority]++
			c.Advance(it)
		}
	}
}

// TestIssuedItemsStayAfterASmallerPeek: a new session begins with
// less than the one before had in flight, and what that one sent may have
// arrived.
func TestIssuedItemsStayAfterASmallerPeek(t *testing.T) {
	for name, less := range map[string]func(h *harness) ([]Item, error){
		"Peek": func(h *harness) ([]Item, error) { return h.Peek(&Cursor{}, 5) },
	} {
		synctest.Test(t, func(t *testing.T) {
			h := start(t, queuePath(t))
			defer h.end()
			h.opt.MaxSize = 4_000
			seq := uint64(0)
			put := func(n int) {
				for range n {
					seq++
					h.Put(routine(seq))
					time.Sleep(50 * time.Millisecond)
				}
			}
			put(1000)
			flight, err := h.next(t.Context(), 600)
			if err != nil || len(flight) != 600 {
				t.Fatalf("%s: %d in flight, %v", name, len(flight), err)
			}
			if _, err := less(h); err != nil {
				t.Fatal(err)
			}
			put(20_000)
			r := recorder{}
			got := r.take(h.all(t))
			if len(r.gaps) == 0 {
				t.Fatalf("%s: nothing was dropped: the test shows nothing", name)
			}
			if !slices.Equal(names(got[:600]), names(flight)) {
				t.Errorf("%s: of 600 readings that were handed out, only %d came again", name,
					countBelow(got, flight[599].number+1))
			}
			r.check(t, map[string]uint64{"room": seq})
		})
	}
}

// TestEveryHoleIsInAGapAcrossSessions reads ahead as the link does: some are
// passed, the oldest of them acknowledged one by one, and a session that ends
// starts again with fewer or more items. All random values are drawn before: in a bubble of
// synctest, the panic with which rapid ends an attempt would end the process.
func TestEveryHoleIsInAGapAcrossSessions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Int64Range(1000, 20_000).Draw(rt, "max_size")
		rounds := rapid.SliceOfN(rapid.Custom(drawRound), 1, 60).Draw(rt, "rounds")
		synctest.Test(t, func(t *testing.T) { holdSessions(t, rt, limit, rounds) })
	})
}

// A round puts readings of three streams, and then takes some steps.
type round struct {
	puts  int
	every time.Duration
	steps []step
}

type step struct {
	do   int // 0: the session ends; 1: some are acknowledged; else some are read and passed
	max  int // to read
	some int
}

func drawRound(t *rapid.T) round {
	return round{
		puts:  rapid.IntRange(0, 2000).Draw(t, "puts"),
		every: time.Duration(rapid.IntRange(1, 50).Draw(t, "every")) * time.Millisecond,
		steps: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.IntRange(0, 4).Draw(t, "do"), rapid.IntRange(1, 600).Draw(t, "max"),
				rapid.IntRange(0, 600).Draw(t, "some")}
		}), 0, 8).Draw(t, "steps"),
	}
}

func holdSessions(t *testing.T, rt *rapid.T, limit int64, rounds []round) {
	h := start(t, queuePath(t))
	defer h.end()
	h.opt.MaxSize = limit
	var r recorder
	var c Cursor
	var flight []Item
	seqs := map[string]uint64{}
	for _, round := range rounds {
		for n := range round.puts {
			name := fmt.Sprint("room", n%7%3)
			seqs[name]++
			reading := routine(seqs[name])
			reading.Stream, reading.Value = name, float64(seqs[name]*7919%101)
			h.Put(reading)
			time.Sleep(round.every)
		}
		for _, s := range round.steps {
			switch s.do {
			case 0:
				c, flight = Cursor{}, nil
			case 1:
				some := flight[:min(s.some, len(flight))]
				r.take(some)
				for i := range some {
					h.Ack(some[i : i+1])
				}
				flight = flight[len(some):]
			default:
				items, err := h.Peek(&c, s.max)
				if err != nil {
					rt.Fatal(err)
				}
				r.hand(items)
				items = items[:min(s.some, len(items))]
				for _, it := range items {
					c.Advance(it)
				}
				flight = append(flight, items...)
			}
		}
	}
	r.take(h.all(t))
	r.check(rt, seqs)
}

// TestBacklogIsExactBeyondAHole: what was issued from memory, behind a hole
// that an eviction has left, goes to disk and is acknowledged only then.
func TestBacklogIsExactBeyondAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		defer h.end()
		h.opt.MaxSize = 1_000 // a block
		seq := uint64(0)
		put := func(n int) {
			for range n {
				seq++
				h.Put(routine(seq))
				time.Sleep(50 * time.Millisecond)
			}
		}
		put(350)
		if _, err := h.next(t.Context(), 1); err != nil { // its block stays
			t.Fatal(err)
		}
		put(20_030)
		flight, err := h.next(t.Context(), 100_000)
		if err != nil {
			t.Fatal(err)
		}
		put(1000) // now all of them are on disk
		flight = flight[:len(flight)-10]
		if names(flight)[0] != "gap" || names(flight)[1] != "room1" {
			t.Fatalf("in flight are %v: no hole, and the test shows nothing", names(flight))
		}
		h.Ack(flight)
		backlog := h.Stats().Backlog
		rest, err := h.next(t.Context(), 100_000)
		if err != nil || len(rest) != backlog {
			t.Errorf("backlog is %d, but %d items wait, %v", backlog, len(rest), err)
		}
		r := recorder{}
		r.take(flight)
		r.take(h.all(t))
		r.check(t, map[string]uint64{"room": seq})
	})
}
