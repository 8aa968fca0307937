package queue

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
)

// gapsOfStarts are those of a node that is offline for months and starts every day: one for
// each stream of each start.
func gapsOfStarts(n int) (all []Gap) {
	for i := range n {
		all = append(all, Gap{Stream: fmt.Sprint("stream", i%100), Boot: fmt.Sprintf("%d-0badcafe", i/100),
			From: 1, To: 86400, Count: 86400, Why: Dropped})
	}
	return all
}

// reopened closes a queue, unless it is nil, and opens it again.
func reopened(t *testing.T, q *Queue, opt Options) *Queue {
	t.Helper()
	if q != nil {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	q, err := Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// In one value they would have more than the mebibyte that is read of a value.
func TestManyGapsSurviveARestart(t *testing.T) {
	opt := Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 64 << 20}
	const n = 12000
	q := reopened(t, nil, opt)
	for _, g := range gapsOfStarts(n) {
		q.Declare(g)
	}
	q = reopened(t, q, opt)
	if got := q.Stats().Backlog; got != n {
		t.Errorf("%d gaps after a restart, want %d", got, n)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(opt.Path + ".aside-*"); len(left) > 0 {
		t.Errorf("the file was taken for damaged: %q", left)
	}
	c, err := Inspect(opt.Path, func(Item) error { return nil })
	if err != nil || len(c.Gaps) != n {
		t.Errorf("%d gaps are shown, want %d, err %v", len(c.Gaps), n, err)
	}
	s, err := scanDamaged(opt.Path)
	if err != nil || len(s.gaps) != n {
		t.Errorf("%d gaps are salvaged, want %d, err %v", len(s.gaps), n, err)
	}
}

func TestGapsThatWereDeliveredLeaveTheFile(t *testing.T) {
	opt := Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 64 << 20}
	q := reopened(t, nil, opt)
	for _, g := range gapsOfStarts(2*gapsPerValue + 1) {
		q.Declare(g)
	}
	q = reopened(t, q, opt)
	for _, left := range []int{10, 0} {
		items, err := q.Peek(&Cursor{}, 3*gapsPerValue)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Ack(items[left:]); err != nil {
			t.Fatal(err)
		}
		q = reopened(t, q, opt)
		if got := q.Stats().Backlog; got != left {
			t.Errorf("%d gaps after a restart, want %d", got, left)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
