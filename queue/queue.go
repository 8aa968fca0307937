// Package queue keeps readings until they are acknowledged, across crashes and power cuts.
//
// A routine reading that the broker acknowledges within Options.SyncEvery is never written
// to disk. One that waits longer is written to a bbolt file, many readings in one commit,
// because frequent writes wear out the SD card of a Pi.
//
// There are two lanes, one for each priority. A lane numbers its readings in the order
// of Put. All readings in memory are newer than all on disk, and Peek returns the oldest
// first, so those on disk come before those in memory.
//
// What the queue promises:
//
//   - An alarm is on disk when Put returns, and soon after Add has, unless the disk
//     fails: then it is in memory, the log says so, and it is written when the disk
//     works again.
//   - A routine reading that waits for longer than Options.SyncEvery is on disk.
//   - A reading is removed only when it is acknowledged, or when the limits of
//     disk, age or memory require it: then a [Gap] and the log say so. One that the
//     broker rejects is kept apart, as in a dead-letter queue.
//   - An acknowledged reading may come again after a crash.
//   - Corrupt data is never returned: a block that fails its checksum is dropped. A
//     gap declares its readings, if this start knows an earlier reading of the stream;
//     if not, an event counts the damaged blocks.
//   - A failing disk does not delay what can be delivered: readable readings are sent,
//     and readings in memory do not wait for those that cannot be read.
//   - Put never waits for the network. For a routine reading it waits for the disk only
//     while memory is full, or for a moment while a failed file is opened again.
//
// # Usage
//
// Open returns a queue, Run writes it to disk until its context ends, and then Close
// writes the rest. A sender keeps a [Cursor]: it calls Peek, sends the items, moves the
// cursor with Advance, and calls Ack when the broker has acknowledged them. After a lost
// connection it calls Rewind: then Peek returns all items that were not acknowledged.
//
// # Concurrency
//
// Put, Add, Report, Declare, Ack, Reject, Purge, Adopt, Arrived, Stats and Recent may be
// called from any goroutine at any time between Open and Close. Peek and Rejected
// are for one goroutine at a time, the sender; a Cursor belongs to it. Run is called once,
// and Close after Run has returned. Put of an alarm, Reject of an alarm,
// Purge and Adopt wait for the disk, and Put and Add where memory is full, each for a
// bounded time; Peek and Rejected
// wait for a read of at most 2 s. No method holds the queue's lock while the disk
// works, except where a failed file is opened again.
//
// One process has a file open: Open returns [ErrLocked] to a second one. [Inspect]
// reads the file of a running agent without a lock.
package queue

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Options configure a queue. Nobody changes them after Open.
type Options struct {
	Path      string            // of the file; its folder is the state directory
	MaxSize   int64             // bytes of readings on disk; then the oldest routine ones are thinned out, then dropped
	MaxAge    time.Duration     // of a reading whose time can be trusted; older ones are dropped; 0: no limit
	SyncEvery time.Duration     // the longest time that a routine reading is in memory only, so what a power cut can lose
	Clock     *clock.Timekeeper // nil: a new one with clock.TrustAuto
	ClientID  string            // the client that the readings belong to; "": the one named in the file
	Unsaved   *Unsaved          // what an earlier queue of this process could not write; nil: nothing

	// Progress is called by the goroutine of Run as it makes progress, with the time
	// within which it calls again; nil: not called.
	Progress func(within time.Duration)
}

// Limits that are not options, because they follow from the memory and the SD card of a Pi.
const (
	maxInMemory = 32768           // readings of both lanes together, about 6 MB: the most that a failing disk may cost
	spillEarly  = 8192            // readings of a lane in memory: then they are written before SyncEvery has passed
	diskTimeout = 2 * time.Second // how long Put waits for a disk that neither succeeds nor fails
	maxRoomWait = 2 * time.Second // how long Put of a routine reading waits for room in memory, while the disk works
	burstOver   = 1024            // fewer readings in memory mean that a burst is over: its memory is freed
)

// An Item is a reading in the queue, or an event. Of an event, the embedded
// Reading has only Seq, At and Priority. A [Gap] is an event, too.
type Item struct {
	sensors.Reading
	Boot    string // ID of the agent's start that measured it
	Event   string // what happened to the agent itself; "" for a reading. Then Seq counts events
	Details string // of the event: a JSON object

	number     uint64        // in its lane; of a rejected item, among the rejected ones
	rejected   bool          // it was returned by Rejected
	declared   bool          // a gap declared it as missing when it was rejected
	generation int           // Queue.opened.generation when number was assigned
	put        time.Duration // from the opening of the queue to Put
}

// A Queue holds readings until they are acknowledged.
//
// Put, Report, Declare, Ack, Reject, Purge, Adopt and Stats may be called from
// any goroutine. Peek and Rejected are called by one goroutine at a time, the
// sender. Run is called once.
//
// Its parts: the [backlog] is the state; a [writer] moves it to disk, in the
// goroutine of Run; blockReader reads from the disk for the sender. The methods of
// Queue take the lock, wait, and leave the rest to these.
type Queue struct {
	// mu guards the backlog. No reading and no writing of the file happens under it,
	// with one exception: see reloadLocked.
	mu sync.Mutex
	backlog

	stopping context.Context // of OpenContext; used without the lock
	stopped  chan struct{}   // closed when Run has returned; used without the lock
	reader   blockReader     // for the goroutine that calls Peek, without a lock
}

// Boot returns the ID of this start of the agent: the number of starts, and eight random
// hexadecimal digits that make it unique.
func (q *Queue) Boot() string { return q.boot }

// UncleanStart returns the number of the previous start, if a power cut, a crash or a kill
// ended it; 0 if it was closed properly, or if nothing is known about it.
func (q *Queue) UncleanStart() uint64 { return q.unclean }

// Put adds a reading, which Peek returns from then on. An alarm is on disk when Put
// returns, unless the disk fails; alarms put at the same time share a commit. If readings
// arrive faster than the disk writes them, and memory is full, Put waits for at most
// maxRoomWait. It may be called from any goroutine.
func (q *Queue) Put(r sensors.Reading) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.Priority != sensors.Alarm {
		q.waitRoomLocked()
	}
	number := q.pushLocked(Item{Reading: r, Boot: q.boot})
	if r.Priority == sensors.Alarm {
		q.waitAttemptedLocked(&q.lanes[sensors.Alarm], number)
	}
}

// Add is Put for a caller that must not wait for the disk, such as one that reads the edges
// of a contact: the writer starts to write an alarm at once, and Add returns before it is on
// disk. Add waits only while memory is full and the disk works.
func (q *Queue) Add(r sensors.Reading) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waitRoomLocked()
	q.pushLocked(Item{Reading: r, Boot: q.boot})
	if r.Priority == sensors.Alarm && !q.storage.awaited {
		q.storage.awaited = true
		go q.awaitAlarms()
	}
}

// awaitAlarms waits for the disk on behalf of the callers of Add, so that a disk that hangs
// is detected. It returns when a commit was tried for every alarm, or when Run returns.
func (q *Queue) awaitAlarms() {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer func() { q.storage.awaited = false }()
	l := &q.lanes[sensors.Alarm]
	for last := uint64(0); last != l.next; {
		last = l.next
		q.waitAttemptedLocked(l, last-1)
	}
}

// waitRoomLocked waits until a commit has made room in memory for a reading.
// It does not wait for a disk that fails or hangs, or for which there is no file.
func (q *Queue) waitRoomLocked() {
	if !q.memoryFullLocked() || !q.diskWorksLocked() {
		return
	}
	if !q.storage.crowded {
		q.storage.crowded = true
		q.log.Warn("readings come faster than the disk takes them: sensors wait for it", "limit", maxRoomWait)
	}
	limit, commits := time.NewTimer(maxRoomWait), q.counts.commits
	defer limit.Stop()
	for q.memoryFullLocked() && q.diskWorksLocked() {
		tried := q.storage.commitEnded
		signal(q.work)
		q.mu.Unlock()
		over := false
		select {
		case <-tried:
		case <-q.stopped:
			over = true
		case <-limit.C:
			over = true
		}
		q.mu.Lock()
		if over && q.counts.commits == commits && q.storage.writing {
			q.hangLocked() // so that the next readings do not wait as long
		}
		if over {
			return
		}
	}
}

// waitAttemptedLocked waits until a commit that holds the reading has ended. It
// does not wait for a disk that hangs. If another file is opened meanwhile, the reading has
// another number there: then it waits for all that memory holds.
func (q *Queue) waitAttemptedLocked(l *lane, number uint64) {
	if q.opened.file == nil || q.storage.hangs {
		return
	}
	generation := q.opened.generation
	timer := time.NewTimer(diskTimeout)
	defer timer.Stop()
	for l.attempted <= number && l.first <= number && !q.storage.hangs {
		tried := q.storage.commitEnded
		q.mu.Unlock()
		ended, hangs := false, false
		select {
		case <-tried:
		case <-q.stopped:
			ended = true // Close writes what is left
		case <-timer.C:
			hangs = true
		}
		q.mu.Lock()
		if generation != q.opened.generation {
			generation, number = q.opened.generation, l.next-1
		}
		if hangs {
			q.hangLocked()
		}
		if ended {
			return
		}
	}
}

// Ack removes items that the broker has acknowledged, and all older ones of their
// lanes; of rejected items, only these. It ignores an item that the queue no longer has.
// Ack makes no commit of its own: after a crash before the next commit, Peek returns the
// items again. The error is always nil.
func (q *Queue) Ack(items []Item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range items {
		q.ackLocked(&items[i])
	}
	q.storage.wakeWaiting()
	signal(q.work)
	return nil
}

// Stats are counters of a queue. Those without a time count from its opening.
type Stats struct {
	Backlog  int    // readings and events not acknowledged
	Memory   int    // of these, not on disk
	Rejected int    // readings and events that were rejected; not counted in Backlog
	Dropped  uint64 // readings that were removed without an acknowledgement
	// readings that gaps declare as missing, for any reason; of the gaps of earlier starts,
	// only those that are not delivered yet
	Missing uint64
	Failing bool        // the last commit failed, or has not ended within 2 s
	Oldest  clock.Stamp // of the oldest reading or event that waits, or of one shortly before it; zero: none waits

	Commits      uint64 // since the queue was opened
	Written      int64  // bytes, by these commits
	CommitsToday uint64 // since midnight UTC, or since the queue was opened
	WrittenToday int64
}

// Stats returns the counters. It does not wait for the disk.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.newDay()
	s := Stats{Rejected: q.rejects.count(), Dropped: q.counts.dropped,
		Missing: q.gaps.missing, Failing: q.storage.failing || q.storage.hangs,
		Commits: q.counts.commits, CommitsToday: q.counts.commits - q.counts.day.commits,
		Written: q.counts.written, WrittenToday: q.counts.written - q.counts.day.written}
	for i := range q.lanes {
		s.Backlog += q.lanes[i].waiting()
		s.Memory += len(q.lanes[i].unsynced())
		if at, ok := q.lanes[i].oldest(); ok && (s.Oldest == (clock.Stamp{}) || at.Unix < s.Oldest.Unix) {
			s.Oldest = at
		}
	}
	s.Backlog += len(q.gaps.list)
	return s
}

// signal puts a token into c unless it holds one. It never blocks, so it may be called with
// the lock held.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
