package queue

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// TestABurstFasterThanTheDiskLosesNothing: what does not fit into memory waits for
// the disk, and the memory is given back.
func TestABurstFasterThanTheDiskLosesNothing(t *testing.T) {
	const burst = 3 * maxInMemory
	q, err := Open(Options{Path: queuePath(t), MaxSize: 64 << 20, SyncEvery: time.Second,
		Clock: clock.NewTimekeeper(clock.TrustAlways)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { q.Run(ctx) })
	defer running.Wait()
	defer stop()
	for seq := range uint64(burst) {
		q.Put(routine(seq + 1))
	}
	if s := q.Stats(); s.Backlog != burst || s.Dropped != 0 {
		t.Errorf("%d wait and %d were dropped, want %d and none", s.Backlog, s.Dropped, burst)
	}
	for range 300 {
		if q.Stats().Memory == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := cap(q.lanes[sensors.Routine].mem.buf); n > burstOver {
		t.Errorf("the buffer has room for %d readings after the burst", n)
	}
}

// TestSlowWriterIsReported: Put waits for a while, and then drops the
// oldest reading; the reason is not the disk's.
func TestSlowWriterIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		q, err := Open(Options{Path: queuePath(t), MaxSize: 64 << 20, SyncEvery: time.Hour,
			Clock: clock.NewTimekeeper(clock.TrustAlways)}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close() // Run was never called: nothing is written
		for seq := range uint64(maxInMemory) {
			q.Put(routine(seq + 1))
		}
		for n := range uint64(2) {
			began := time.Now()
			q.Put(routine(maxInMemory + n + 1))
			if waited := time.Since(began); waited != maxRoomWait {
				t.Errorf("waited %v, want %v", waited, maxRoomWait)
			}
		}
		if s := q.Stats(); s.Dropped != 2 || s.Memory != maxInMemory {
			t.Errorf("%+v", s)
		}
		for text, want := range map[string]int{"sensors wait for it": 1,
			"faster than the disk takes them, and memory is full": 1,
			"the disk fails": 0} {
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("%q is in the log %d times, want %d:\n%s", text, n, want, log.String())
			}
		}
	})
}

// TestEmptyBufferIsReleased, and a buffer in use is not reallocated all the time.
func TestEmptyBufferIsReleased(t *testing.T) {
	var f fifo
	for i := range 20_000 {
		f.push(Item{number: uint64(i)})
	}
	f.pop(19_990)
	if f.len() != 10 || f.items()[0].number != 19_990 || cap(f.buf) > burstOver {
		t.Errorf("%d items from %d on in a buffer for %d", f.len(), f.items()[0].number, cap(f.buf))
	}
	if n := testing.AllocsPerRun(1000, func() { f.push(Item{}); f.pop(1) }); n > 0.1 {
		t.Errorf("%v allocations a reading", n)
	}
}

// TestReadingsAtOneIntervalReuseTheBuffer: again and again, many sensors fill the
// buffer up to its limit, and all readings leave together.
func TestReadingsAtOneIntervalReuseTheBuffer(t *testing.T) {
	var f fifo
	interval := func() {
		for i := range burstOver {
			f.push(Item{number: uint64(i)})
		}
		f.pop(burstOver)
	}
	interval()
	if n := testing.AllocsPerRun(10, interval); n > 0 {
		t.Errorf("%v allocations in an interval", n)
	}
	if cap(f.buf) > burstOver {
		t.Errorf("a buffer for %d readings", cap(f.buf))
	}
}
