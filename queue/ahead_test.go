package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

func TestAheadGoesOnWhereTheCursorStandsAndAlarmsFirst(t *testing.T) {
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

// TestAheadSkipsNothingAndRepeatsNothing reads ahead while readings move from
// memory to disk under it, and sessions end at any moment.
func TestAheadSkipsNothingAndRepeatsNothing(t *testing.T) {
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
	var c Cursor
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
				c, flight, sent = Cursor{}, nil, acked
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
