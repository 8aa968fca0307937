package queue

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A model is what the queue promises, as two slices of sequence numbers, and a
// third one of what was rejected.
type model struct {
	waiting [2][]uint64 // by priority, oldest first
	acked   [2][]uint64 // acknowledged, perhaps not on disk yet: may come again after a kill
	safe    [2]uint64   // every number up to it is on disk or acknowledged
	last    [2]uint64
	putAt   [2]map[uint64]time.Time // of readings whose safety is a matter of time
	broken  bool                    // the disk fails
	since   time.Time               // when it last began to work
	step    int64                   // ms that the wall clock is off
	trail   []string                // what was done

	aside  []mark // rejected, oldest first
	gone   []mark // of these, acknowledged, perhaps not on disk yet
	spoken bool   // something was declared: events and gaps wait, too
}

type mark struct {
	p   sensors.Priority
	seq uint64
}

func markOf(it Item) mark { return mark{it.Priority, it.Seq} }

func marks(items []Item) (all []mark) {
	for _, it := range items {
		all = append(all, markOf(it))
	}
	return all
}

// of returns those of a lane.
func of(all []mark, p sensors.Priority) (seqs []uint64) {
	for _, m := range all {
		if m.p == p {
			seqs = append(seqs, m.seq)
		}
	}
	return seqs
}

// mended is how long after the disk works again everything is on it.
const mended = retryStorage + time.Second

// TestQueueBehavesLikeTwoSlices puts, acknowledges, sets aside, waits, stops, kills, breaks
// the disk and steps the clock at random, and compares what the queue returns
// with the model. A thousand seeds of 500 steps:
//
//	go test ./queue -run TwoSlices -rapid.checks=1000 -rapid.steps=500 -timeout 30m
func TestQueueBehavesLikeTwoSlices(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := dir + "/" + rapid.StringMatching(`[a-z]{24}`).Draw(rt, "name")
		synctest.Test(t, func(t *testing.T) { play(t, rt, path) })
	})
}

func play(t *testing.T, rt *rapid.T, path string) {
	h := start(t, path)
	m := &model{putAt: [2]map[uint64]time.Time{{}, {}}}
	rt.Repeat(map[string]func(*rapid.T){
		"put": func(rt *rapid.T) {
			m.trail = append(m.trail, "put")

			p := sensors.Priority(rapid.IntRange(0, 1).Draw(rt, "priority"))
			for range rapid.IntRange(1, 30).Draw(rt, "n") {
				m.put(h, p)
			}
		},
		"wait": func(rt *rapid.T) {
			m.trail = append(m.trail, "wait")

			time.Sleep(time.Duration(rapid.IntRange(1, 7000).Draw(rt, "ms")) * time.Millisecond)
			synctest.Wait()
		},
		"ack": func(rt *rapid.T) {
			m.trail = append(m.trail, "ack")

			if h.Stats().Backlog > 0 {
				m.ack(rt, h, rapid.IntRange(1, 40).Draw(rt, "max"))
			}
		},
		"set aside": func(rt *rapid.T) {
			m.trail = append(m.trail, "set aside")

			if h.Stats().Backlog > 0 {
				m.setAside(rt, h, rapid.IntRange(1, 10).Draw(rt, "max"), rapid.IntRange(0, 9).Draw(rt, "declare") == 0)
			}
		},
		"try again": func(rt *rapid.T) {
			m.trail = append(m.trail, "try again")

			m.tryAgain(rt, h, rapid.IntRange(1, 20).Draw(rt, "max"))
		},
		"break": func(rt *rapid.T) {
			m.trail = append(m.trail, "break")

			if !m.broken {
				synctest.Wait()
				breakDisk(t, h)
				m.breaks(h)
			}
		},
		"mend": func(rt *rapid.T) {
			m.trail = append(m.trail, "mend")
			m.mend(t, h)
		},
		"step the clock": func(rt *rapid.T) {
			m.trail = append(m.trail, "step the clock")

			m.step += rapid.Int64Range(-3_600_000, 3_600_000).Draw(rt, "ms")
		},
		"stop": func(rt *rapid.T) {
			m.trail = append(m.trail, "stop")

			if m.mend(t, h) {
				time.Sleep(mended)
			}
			h.stop()
			<-h.done
			if err := h.Close(); err != nil {
				rt.Fatalf("close: %v, after %v", err, m.trail)
			}
			before := fmt.Sprintf("%+v", [...]any{h.lanes[0].first, h.lanes[0].next, h.lanes[0].disk.lastBlock,
				h.lanes[0].disk.lastTail, h.lanes[0].disk.savedFirst, h.lanes[1].first, h.lanes[1].next,
				h.lanes[1].disk.lastBlock, h.lanes[1].disk.lastTail, h.lanes[1].disk.savedFirst})
			h = start(t, path)
			for p := range m.waiting {
				if left := held(rt, h, sensors.Priority(p)); !slices.Equal(left, m.waiting[p]) {
					aside, _ := filepath.Glob(path + "*")
					rt.Fatalf("lane %v after a stop: %v, want %v; lanes were %s, files %v after %v",
						sensors.Priority(p), left, m.waiting[p], before, aside, m.trail)
				}
			}
			if left := heldAside(rt, h); !slices.Equal(left, m.aside) {
				rt.Fatalf("aside after a stop: %v, want %v, after %v", left, m.aside, m.trail)
			}
			m.stopped()
		},
		"kill": func(rt *rapid.T) {
			m.trail = append(m.trail, "kill")

			if m.broken {
				h.stop()
				<-h.done
				m.mend(t, h)
				h.opened.file.close()
			} else {
				h.kill()
			}
			h = start(t, path)
			m.killed(rt, h)
		},
		"": func(rt *rapid.T) {
			// Events wait too: the disk has failed, the disk works again.
			if got, want := h.Stats().Backlog, len(m.waiting[0])+len(m.waiting[1]); got < want ||
				m.since.IsZero() && !m.broken && !m.spoken && got > want {
				rt.Fatalf("backlog is %d, want %d after %v", got, want, m.trail)
			}
			if got := h.Stats().Rejected; got != len(m.aside) && !m.unwell() {
				rt.Fatalf("%d are aside, want %d after %v", got, len(m.aside), m.trail)
			}
		},
	})
	if m.mend(t, h); m.unwell() {
		time.Sleep(mended)
	}
	for h.Stats().Backlog > 0 {
		m.ack(rt, h, 1000)
	}
	if left := len(m.waiting[0]) + len(m.waiting[1]); left > 0 {
		rt.Fatalf("%d readings never came", left)
	}
	if left := heldAside(rt, h); !slices.Equal(left, m.aside) {
		rt.Fatalf("aside in the end: %v, want %v, after %v", left, m.aside, m.trail)
	}
	h.end()
}

// breaks notes what is safe when the disk begins to fail.
func (m *model) breaks(h *harness) {
	m.settle(h)
	m.broken = true
}

func (m *model) mend(t *testing.T, h *harness) bool {
	if !m.broken {
		return false
	}
	synctest.Wait() // the writer must not make a file while there is none
	mendDisk(t, h)
	h.mu.Lock()
	noticed := h.storage.failing
	h.mu.Unlock()
	if !noticed { // as if nothing had been
		if sound, err := h.opened.file.reopen(); err != nil || !sound {
			t.Fatal(sound, err)
		}
	}
	m.broken, m.since = false, time.Now()
	return true
}

// settle moves on what is safe by now.
func (m *model) settle(h *harness) {
	if m.broken {
		return
	}
	for p, wait := range [...]time.Duration{sensors.Routine: h.opt.SyncEvery, sensors.Alarm: 0} {
		for n, at := range m.putAt[p] {
			if well := m.since.Add(mended); at.Before(well) && !m.since.IsZero() {
				at = well
			}
			if time.Since(at) >= wait && !at.After(time.Now()) {
				m.safe[p] = max(m.safe[p], n)
			}
		}
	}
}

func (m *model) put(h *harness, p sensors.Priority) {
	m.last[p]++
	n := m.last[p]
	m.waiting[p] = append(m.waiting[p], n)
	m.putAt[p][n] = time.Now()
	r := routine(n)
	if p == sensors.Alarm {
		r = alarm(n)
	}
	r.At.Unix += m.step
	h.Put(r)
	if p == sensors.Alarm && !m.broken && !h.Stats().Failing {
		m.safe[p] = n
	}
}

// unwell says that the disk fails, or that it is not yet known to work again.
func (m *model) unwell() bool {
	return m.broken || !m.since.IsZero() && time.Since(m.since) < mended
}

// oldest returns the oldest items, none if the disk fails that has them.
func (m *model) next(t *rapid.T, h *harness, max int) []Item {
	items, err := h.next(context.Background(), max)
	if err != nil && m.unwell() {
		return nil // the oldest are in blocks, and the disk fails
	}
	if err != nil || len(items) == 0 || len(items) > max {
		t.Fatalf("Peek(%d): %d items, %v", max, len(items), err)
	}
	return items
}

// took takes a reading that comes, which must be the oldest of its lane, out of
// what waits.
func (m *model) took(t *rapid.T, it Item) {
	p := it.Priority
	if len(m.waiting[p]) == 0 || m.waiting[p][0] != it.Seq {
		t.Fatalf("%v reading %d comes, want %v, after %v", p, it.Seq, m.waiting[p], m.trail)
	}
	m.waiting[p] = m.waiting[p][1:]
}

func (m *model) ack(t *rapid.T, h *harness, max int) {
	items := m.next(t, h, max)
	h.Ack(items)
	items = slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return it.Event != "" })
	if len(items) == 0 {
		return
	}
	// A lane that cannot be read does not hold up the other.
	if items[0].Priority == sensors.Routine && len(m.waiting[sensors.Alarm]) > 0 && !m.unwell() {
		t.Fatalf("a routine reading goes before %d alarms", len(m.waiting[sensors.Alarm]))
	}
	for i, it := range items {
		p := it.Priority
		if i > 0 && items[i-1].Priority < p {
			t.Fatalf("an alarm at place %d comes after a routine reading", i)
		}
		m.took(t, it)
		m.acked[p] = append(m.acked[p], it.Seq)
	}
}

// setAside rejects readings, and acknowledges the events between them.
func (m *model) setAside(t *rapid.T, h *harness, max int, declare bool) {
	for _, it := range m.next(t, h, max) {
		if it.Event != "" {
			h.Ack([]Item{it})
			continue
		}
		if err := h.Reject(it, declare); err != nil {
			t.Fatalf("%v, after %v", err, m.trail)
		}
		m.took(t, it)
		m.aside = append(m.aside, markOf(it))
		m.spoken = m.spoken || declare
	}
}

// tryAgain takes some of what was rejected.
func (m *model) tryAgain(t *rapid.T, h *harness, max int) {
	items, err := h.Rejected(&Cursor{}, max)
	if err != nil && m.unwell() {
		return
	}
	if want := m.aside[:min(max, len(m.aside))]; err != nil || !slices.Equal(marks(items), want) {
		t.Fatalf("Rejected(%d): %v, %v, want %v, after %v", max, marks(items), err, want, m.trail)
	}
	for _, it := range items {
		if rapid.Bool().Draw(t, "arrives") {
			h.Ack([]Item{it})
			m.aside = slices.DeleteFunc(m.aside, func(a mark) bool { return a == markOf(it) })
			m.gone = append(m.gone, markOf(it))
		}
	}
}

func (m *model) stopped() {
	for p := range m.waiting {
		m.safe[p], m.acked[p] = m.last[p], nil
	}
	m.gone = nil
}

// killed takes over from the queue what a kill leaves open, within the
// promises: which acknowledged readings come again, and how many of the
// youngest routine readings are gone.
func (m *model) killed(t *rapid.T, h *harness) {
	m.settle(h)
	aside := heldAside(t, h)
	if known := append(slices.Clone(m.aside), m.gone...); !subset(aside, known) {
		t.Fatalf("aside after the kill: %v, want some of %v, after %v", aside, known, m.trail)
	}
	for p := range m.waiting {
		left := held(t, h, sensors.Priority(p))
		m.killedAside(t, sensors.Priority(p), left, of(aside, sensors.Priority(p)))
		known := append(slices.Clone(m.acked[p]), m.waiting[p]...)
		known = append(known, of(append(m.gone, m.aside...), sensors.Priority(p))...)
		if !slices.IsSorted(left) || !subset(left, known) || !subset(upTo(m.waiting[p], m.safe[p]), left) {
			t.Fatalf("lane %v after the kill: %v\nwaiting %v, acknowledged %v, safe up to %d, after %v",
				sensors.Priority(p), left, m.waiting[p], m.acked[p], m.safe[p], m.trail)
		}
		m.waiting[p] = left
		m.acked[p] = slices.DeleteFunc(m.acked[p], func(n uint64) bool { return slices.Contains(left, n) })
		m.safe[p] = m.last[p] // what is gone is gone
	}
	m.aside, m.gone = aside, nil
}

// killedAside checks that what was rejected is in its lane again or is aside,
// and not both.
func (m *model) killedAside(t *rapid.T, p sensors.Priority, left, aside []uint64) {
	for _, n := range of(m.aside, p) {
		waits, kept := slices.Contains(left, n), slices.Contains(aside, n)
		if waits && kept || !waits && !kept && n <= m.safe[p] {
			t.Fatalf("%v %d was set aside; after the kill it waits: %v, is aside: %v; safe up to %d, after %v", p, n,
				waits, kept, m.safe[p], m.trail)
		}
	}
}

func subset[T comparable](some, all []T) bool {
	return !slices.ContainsFunc(some, func(n T) bool { return !slices.Contains(all, n) })
}

func upTo(seqs []uint64, limit uint64) []uint64 {
	n, found := slices.BinarySearch(seqs, limit)
	if found {
		n++
	}
	return seqs[:n]
}

// held reads a lane from disk, straight from the file.
func held(t *rapid.T, h *harness, p sensors.Priority) (seqs []uint64) {
	for from, last := h.lanes[p].first, h.lanes[p].disk.lastBlock; from <= last; {
		r, damaged, err := h.opened.file.read(p, from, last)
		if err != nil || len(r.items) == 0 || damaged > 0 {
			t.Fatalf("read lane %v from %d to %d: %d items, %d damaged, %v", p, from, last, len(r.items), damaged, err)
		}
		for _, it := range r.items {
			if it.Event == "" {
				seqs = append(seqs, it.Seq)
			}
			from = it.number + 1
		}
	}
	for _, it := range h.lanes[p].mem.items() { // the tail
		if it.Event == "" {
			seqs = append(seqs, it.Seq)
		}
	}
	return seqs
}

// heldAside reads all that is aside.
func heldAside(t *rapid.T, h *harness) []mark {
	items, err := h.Rejected(&Cursor{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return marks(items)
}
