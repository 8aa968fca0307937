package serial

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestPutDoesNotBlock: and everything that was put runs, in order, before Close returns.
func TestPutDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, began := New(), time.Now()
		var got []int
		for i := range 3 {
			e.Put(func() { time.Sleep(time.Second); got = append(got, i) })
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("Put waited %v", waited)
		}
		go e.Run()
		e.Flush()
		if !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("after Flush: %v", got)
		}
		e.Put(func() { time.Sleep(time.Second); got = append(got, 3) })
		e.Close()
		if len(got) != 4 || e.Put(func() {}) {
			t.Errorf("after Close: %v, and it takes more", got)
		}
	})
}

func TestTooManyCodesAreRejected(t *testing.T) {
	e, ran := New(), 0
	for e.Put(func() { ran++ }) {
		if len(e.todo) > maxTodo {
			t.Fatal("there is no bound")
		}
	}
	go e.Run()
	e.Close()
	if ran != maxTodo {
		t.Errorf("%d ran, want %d", ran, maxTodo)
	}
}
