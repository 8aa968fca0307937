package queue

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestWhatWasHandedOutStaysWhenTheNextCallGivesLess: a new session begins with
// less than the one before had in flight, and what that one sent may have
// arrived.
func TestWhatWasHandedOutStaysWhenTheNextCallGivesLess(t *testing.T) {
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
				t.Errorf("%s: of 600 readings that were handed out, only %d came again", name, countBelow(got, flight[599].number+1))
			}
			r.check(t, map[string]uint64{"room": seq})
		})
	}
}

// TestEveryHoleLiesInAGapWhenSessionsEnd reads ahead as the link does: some are
// passed, the oldest of them acknowledged one by one, and a session that ends
// begins anew with less or more. All is drawn before: a bubble of synctest ends
// the process where rapid gives an attempt up.
func TestEveryHoleLiesInAGapWhenSessionsEnd(t *testing.T) {
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
	most int // to read
	some int
}

func drawRound(t *rapid.T) round {
	return round{
		puts:  rapid.IntRange(0, 2000).Draw(t, "puts"),
		every: time.Duration(rapid.IntRange(1, 50).Draw(t, "every")) * time.Millisecond,
		steps: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.IntRange(0, 4).Draw(t, "do"), rapid.IntRange(1, 600).Draw(t, "most"), rapid.IntRange(0, 600).Draw(t, "some")}
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
				items, err := h.Peek(&c, s.most)
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

// TestBacklogIsExactBeyondAHole: what was handed out from memory, behind a hole
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
