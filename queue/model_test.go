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

// A model is what the queue promises, as two slices of sequence numbers.
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
}

// mended is how long after the disk works again everything is on it.
const mended = retryStorage + time.Second

// TestQueueBehavesLikeTwoSlices puts, acknowledges, waits, stops, kills, breaks
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
			before := fmt.Sprintf("%+v", [...]any{h.lanes[0].first, h.lanes[0].next, h.lanes[0].disk, h.lanes[0].tail, h.lanes[0].saved, h.lanes[1].first, h.lanes[1].next, h.lanes[1].disk, h.lanes[1].tail, h.lanes[1].saved})
			h = start(t, path)
			for p := range m.waiting {
				if left := held(rt, h, sensors.Priority(p)); !slices.Equal(left, m.waiting[p]) {
					aside, _ := filepath.Glob(path + "*")
					rt.Fatalf("lane %v after a stop: %v, want %v; lanes were %s, files %v after %v", sensors.Priority(p), left, m.waiting[p], before, aside, m.trail)
				}
			}
			m.stopped()
		},
		"kill": func(rt *rapid.T) {
			m.trail = append(m.trail, "kill")

			if m.broken {
				h.stop()
				<-h.done
				m.mend(t, h)
				h.file.close()
			} else {
				h.kill()
			}
			h = start(t, path)
			m.killed(rt, h)
		},
		"": func(rt *rapid.T) {
			// Events wait too: the disk has failed, the disk works again.
			if got, want := h.Stats().Backlog, len(m.waiting[0])+len(m.waiting[1]); got < want || m.since.IsZero() && !m.broken && got > want {
				rt.Fatalf("backlog is %d, want %d after %v", got, want, m.trail)
			}
		},
	})
	if m.mend(t, h) {
		time.Sleep(mended)
	}
	for h.Stats().Backlog > 0 {
		m.ack(rt, h, 1000)
	}
	if left := len(m.waiting[0]) + len(m.waiting[1]); left > 0 {
		rt.Fatalf("%d readings never came", left)
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
	noticed := h.failing
	h.mu.Unlock()
	if !noticed { // as if nothing had been
		if sound, err := h.file.reopen(); err != nil || !sound {
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

func (m *model) ack(t *rapid.T, h *harness, max int) {
	items, err := h.Next(context.Background(), max)
	unwell := m.broken || !m.since.IsZero() && time.Since(m.since) < mended
	if err != nil && unwell {
		return // the oldest are in blocks, and the disk fails
	}
	if err != nil || len(items) == 0 || len(items) > max {
		t.Fatalf("Next(%d): %d items, %v", max, len(items), err)
	}
	h.Ack(items)
	items = slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return it.Event != "" })
	if len(items) == 0 {
		return
	}
	// A lane that cannot be read does not hold up the other.
	if items[0].Priority == sensors.Routine && len(m.waiting[sensors.Alarm]) > 0 && !unwell {
		t.Fatalf("a routine reading goes before %d alarms", len(m.waiting[sensors.Alarm]))
	}
	for i, it := range items {
		p := it.Priority
		if i > 0 && items[i-1].Priority < p {
			t.Fatalf("an alarm at place %d comes after a routine reading", i)
		}
		if len(m.waiting[p]) == 0 || m.waiting[p][0] != it.Seq {
			t.Fatalf("%v reading %d comes, want %v, after %v", p, it.Seq, m.waiting[p], m.trail)
		}
		m.acked[p] = append(m.acked[p], it.Seq)
		m.waiting[p] = m.waiting[p][1:]
	}
}

func (m *model) stopped() {
	for p := range m.waiting {
		m.safe[p], m.acked[p] = m.last[p], nil
	}
}

// killed takes over from the queue what a kill leaves open, within the
// promises: which acknowledged readings come again, and how many of the
// youngest routine readings are gone.
func (m *model) killed(t *rapid.T, h *harness) {
	m.settle(h)
	for p := range m.waiting {
		left := held(t, h, sensors.Priority(p))
		known := append(slices.Clone(m.acked[p]), m.waiting[p]...)
		if !slices.IsSorted(left) || !subset(left, known) || !subset(upTo(m.waiting[p], m.safe[p]), left) {
			t.Fatalf("lane %v after the kill: %v\nwaiting %v, acknowledged %v, safe up to %d, after %v",
				sensors.Priority(p), left, m.waiting[p], m.acked[p], m.safe[p], m.trail)
		}
		m.waiting[p] = left
		m.acked[p] = slices.DeleteFunc(m.acked[p], func(n uint64) bool { return slices.Contains(left, n) })
		m.safe[p] = m.last[p] // what is gone is gone
	}
}

func subset(some, all []uint64) bool {
	return !slices.ContainsFunc(some, func(n uint64) bool { return !slices.Contains(all, n) })
}

func upTo(seqs []uint64, most uint64) []uint64 {
	n, found := slices.BinarySearch(seqs, most)
	if found {
		n++
	}
	return seqs[:n]
}

// held reads a lane from disk, straight from the file.
func held(t *rapid.T, h *harness, p sensors.Priority) (seqs []uint64) {
	for from, last := h.lanes[p].first, h.lanes[p].disk; from <= last; {
		r, damaged, err := h.file.read(p, from, last)
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
