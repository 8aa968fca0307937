// Package queue makes a reading survive.
//
// A reading that the broker acknowledges in time never touches the disk. One
// that waits is spilled to a bbolt file, many readings to a commit, because on
// a Pi the SD card is what dies first.
//
// There are two lanes, one for each priority. In a lane, readings are numbered
// in the order of Put, and everything in memory is newer than everything on
// disk; Next returns the oldest, from disk first.
//
// What the queue promises:
//
//   - An alarm is on disk when Put returns, unless the disk fails: then it is
//     in memory, the log says so, and it is written when the disk works again.
//   - A routine reading that waits for longer than Options.SyncEvery is on disk.
//   - A reading leaves only when it was acknowledged, or when the bounds on
//     disk or memory force it: then Stats.Dropped counts it and the log says so.
//   - An acknowledged reading may come again after a crash.
//   - No corruption reaches the payload: what fails its checksum is dropped.
//   - Put never waits for the network, and for a routine reading it does not
//     wait for the disk.
package queue

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Options say where the queue is and how much it may hold.
type Options struct {
	Path      string        // of the file; its folder is the state directory
	MaxSize   int64         // bytes of readings on disk; the oldest routine ones go first
	SyncEvery time.Duration // the most routine history that a power cut can take
}

const (
	mostInMemory = 32768           // readings of both lanes: 6 MB, what a failing disk may cost
	spillEarly   = 8192            // readings of a lane in memory before their time
	diskPatience = 2 * time.Second // that Put waits for a disk that neither succeeds nor fails
)

// An Item is a reading in the queue.
type Item struct {
	sensors.Reading
	Boot string // the start of the agent that made it

	number uint64        // in its lane
	put    time.Duration // since the queue was opened
}

// A Queue holds readings until they are acknowledged. Put, Ack and Stats may be
// called from any goroutine, Next from one at a time.
type Queue struct {
	opt   Options
	log   *slog.Logger
	boot  string
	start time.Time

	arrived chan struct{} // holds one token: something was put
	work    chan struct{} // holds one token: the writer should look again
	stopped chan struct{} // closed when Run has returned

	mu      sync.Mutex
	lanes   [2]lane       // by sensors.Priority
	tried   chan struct{} // closed after each commit, whether it succeeded or not
	dropped uint64
	writer

	file *file // nil if there is none to be had: memory only
}

// Boot names this start of the agent: a number that counts the starts, and
// eight random digits that make it unique.
func (q *Queue) Boot() string { return q.boot }

// Put adds a reading. The drain sees it at once. An alarm is on disk when Put
// returns; alarms put together share a commit.
func (q *Queue) Put(r sensors.Reading) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.lanes[r.Priority]
	number := l.push(Item{Reading: r, Boot: q.boot, put: time.Since(q.start)})
	q.boundMemoryLocked()
	signal(q.arrived)
	if l.mem.len() == 1 || l.mem.len() >= spillEarly || r.Priority == sensors.Alarm {
		signal(q.work)
	}
	if r.Priority == sensors.Alarm {
		q.waitTriedLocked(l, number)
	}
}

// waitTriedLocked waits until a commit that holds the reading has ended.
func (q *Queue) waitTriedLocked(l *lane, number uint64) {
	if q.file == nil {
		return
	}
	patience := time.NewTimer(diskPatience)
	defer patience.Stop()
	for l.tried <= number && l.first <= number {
		tried := q.tried
		q.mu.Unlock()
		ended := false
		select {
		case <-tried:
		case <-q.stopped:
			ended = true // Close writes what is left
		case <-patience.C:
			q.log.Error("storage hangs: an alarm is in memory only", "waited", diskPatience)
			ended = true
		}
		q.mu.Lock()
		if ended {
			return
		}
	}
}

// Next returns the oldest items that are not acknowledged, alarms first, at
// least one and at most max. It waits for one if there is none. Until Ack, it
// returns the same items again.
func (q *Queue) Next(ctx context.Context, max int) ([]Item, error) {
	for {
		items, err := q.oldest(max)
		if err != nil || len(items) > 0 {
			return items, err
		}
		select {
		case <-q.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (q *Queue) oldest(max int) ([]Item, error) {
	var items []Item
	for _, p := range [...]sensors.Priority{sensors.Alarm, sensors.Routine} {
		if err := q.load(p, max-len(items)); err != nil {
			return nil, err
		}
		q.mu.Lock()
		items = q.lanes[p].peek(items, max-len(items))
		q.mu.Unlock()
	}
	return items, nil
}

// load brings the oldest readings of a lane into memory if they are on disk,
// as many as wanted. The disk is read without the lock, so that Put does not
// wait for it.
func (q *Queue) load(p sensors.Priority, want int) error {
	l := &q.lanes[p]
	for {
		q.mu.Lock()
		from, needed := l.toLoad(want)
		last := l.disk
		q.mu.Unlock()
		if !needed {
			return nil
		}
		items, err := q.file.read(p, from, last)
		if err != nil {
			return err
		}
		for i := range items {
			q.restore(&items[i])
		}
		q.mu.Lock()
		lost, ok := l.loaded(items)
		q.dropLocked(p, lost, "damaged on disk")
		q.mu.Unlock()
		if !ok {
			return nil
		}
	}
}

// restore gives an item of this start its monotonic time back, and takes it
// from an item of an earlier one, where it has no meaning.
func (q *Queue) restore(it *Item) {
	if it.Boot != q.boot || it.At.Taken.IsZero() {
		it.At.Taken = time.Time{}
		return
	}
	it.At.Taken = q.start.Add(it.At.Taken.Sub(epoch))
}

// Ack removes items that the broker has acknowledged, and all older ones of
// their lanes. It costs no commit of its own.
func (q *Queue) Ack(items []Item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		q.lanes[it.Priority].ack(it.number)
	}
	q.wakePutLocked()
	signal(q.work)
	return nil
}

// Stats is what the queue holds and has done since it was opened.
type Stats struct {
	Backlog int    // readings not acknowledged
	Memory  int    // of these, in memory alone
	Dropped uint64 // readings that left without an acknowledgement
	Commits uint64
}

// Stats reports what the queue holds.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Dropped: q.dropped, Commits: q.commits}
	for i := range q.lanes {
		s.Backlog += q.lanes[i].owed()
		s.Memory += q.lanes[i].mem.len()
	}
	return s
}

// boundMemoryLocked drops the oldest reading in memory, routine before alarm,
// while there are too many: the disk has failed for long.
func (q *Queue) boundMemoryLocked() {
	for q.lanes[0].mem.len()+q.lanes[1].mem.len() > mostInMemory {
		p := sensors.Routine
		if q.lanes[p].mem.len() == 0 {
			p = sensors.Alarm
		}
		q.lanes[p].dropOldestInMemory()
		q.dropLocked(p, 1, "the disk fails and memory is full")
	}
}

// dropLocked counts readings that leave without an acknowledgement, and says
// so when it starts.
func (q *Queue) dropLocked(p sensors.Priority, n int, why string) {
	if n == 0 {
		return
	}
	q.dropped += uint64(n)
	if why != q.saidDrop {
		q.saidDrop = why
		q.log.Error("readings dropped", "why", why, "lane", p, "dropped", q.dropped)
	}
}

// signal leaves a token if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
