// Package queue makes a reading survive.
//
// A reading that the broker acknowledges in time never touches the disk. One
// that waits is spilled to a bbolt file, many readings to a commit, because on
// a Pi the SD card is what dies first.
//
// There are two lanes, one for each priority. In a lane, readings are numbered
// in the order of Put, and everything in memory is newer than everything on
// disk; Peek returns the oldest, from disk first.
//
// What the queue promises:
//
//   - An alarm is on disk when Put returns, and soon after Add has, unless the disk
//     fails: then it is in memory, the log says so, and it is written when the disk
//     works again.
//   - A routine reading that waits for longer than Options.SyncEvery is on disk.
//   - A reading leaves only when it was acknowledged, or when the bounds on
//     disk or memory force it: then a [Gap] says so, and the log. One that the
//     broker rejects is kept apart, as in a dead-letter queue.
//   - An acknowledged reading may come again after a crash.
//   - No corruption reaches the payload: what fails its checksum is dropped. A
//     gap says so, except for what came before the first reading that this
//     start has seen of its stream: then an event counts the blocks.
//   - No state of the disk holds up what can be delivered: what can be read is
//     sent, and what is in memory does not wait behind what cannot.
//   - Put never waits for the network, and for a routine reading it does not
//     wait for the disk, but for a moment when a failed file is opened again.
//
// # Usage
//
// Open makes a queue, Run writes it until its context ends, and then Close writes
// the rest. A sender keeps a [Cursor]: it calls Peek, sends what it gets, moves
// the cursor with Advance, and calls Ack when the broker has acknowledged. After a
// lost connection it calls Rewind, and what was not acknowledged comes again.
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
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Options say where the queue is and how much it may hold.
type Options struct {
	Path      string            // of the file; its folder is the state directory
	MaxSize   int64             // bytes of readings on disk; then the oldest routine ones are thinned out, then dropped
	MaxAge    time.Duration     // of a reading whose time can be trusted; 0: no bound
	SyncEvery time.Duration     // the most routine history that a power cut can take
	Clock     *clock.Timekeeper // nil: one that asks the kernel
	ClientID  string            // whose readings it holds; "": whose the file says
	Unsaved   *Unsaved          // what a queue of before could not write; nil: nothing

	// Progress is called by the goroutine of Run as it makes progress, with the time
	// within which it calls again; nil: nobody watches.
	Progress func(within time.Duration)
}

// Bounds that are no options: they follow from the memory and the card of a Pi.
const (
	maxInMemory = 32768           // readings of both lanes: 6 MB, what a failing disk may cost
	spillEarly  = 8192            // readings of a lane in memory before their time
	diskTimeout = 2 * time.Second // that Put waits for a disk that neither succeeds nor fails
	maxRoomWait = 2 * time.Second // that Put of a routine reading waits for room in memory, while the disk works
	burstOver   = 1024            // readings in memory: then the memory of a burst is given back
)

// An Item is a reading in the queue, or an event. Of an event, the embedded
// Reading has only Seq, At and Priority. A [Gap] is an event, too.
type Item struct {
	sensors.Reading
	Boot    string // the start of the agent that made it
	Event   string // what happened to the agent itself; "" for a reading. Then Seq counts events
	Details string // of the event: a JSON object

	number     uint64        // in its lane, or of those rejected
	rejected   bool          // it was rejected, and comes from there
	declared   bool          // as missing, when it was rejected
	generation int           // Queue.opened.generation, when the number was given
	put        time.Duration // since the queue was opened
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

	stopped chan struct{} // closed when Run has returned; used without the lock
	reader  blockReader   // for the goroutine that calls Peek, without a lock
}

// Boot names this start of the agent: a number that counts the starts, and
// eight random digits that make it unique.
func (q *Queue) Boot() string { return q.boot }

// UncleanStart is the number of the start before this one, if a power cut, a crash or a
// kill ended it; 0 if it was closed in order, or nothing is known of it.
func (q *Queue) UncleanStart() uint64 { return q.unclean }

// Put adds a reading. The drain sees it at once. An alarm is on disk when Put
// returns; alarms put together share a commit. Readings that come faster than the
// disk takes them wait for it, at most burstLimit, once memory is full.
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

// Add is Put for a caller that must not wait for the disk, because it has the next edge of
// a contact to look at: an alarm is written at once, and Add returns before it is on disk.
// It waits only where memory is full and the disk works.
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

// awaitAlarms waits for the disk in place of those that call Add, so that a disk that
// hangs is noticed. It ends when no alarm is left that was not tried, or with Run.
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
			q.hangLocked() // else each reading that follows would wait as long
		}
		if over {
			return
		}
	}
}

// waitAttemptedLocked waits until a commit that holds the reading has ended. It
// does not wait for a disk that hangs.
func (q *Queue) waitAttemptedLocked(l *lane, number uint64) {
	if q.opened.file == nil || q.storage.hangs {
		return
	}
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
		if hangs {
			q.hangLocked()
		}
		if ended {
			return
		}
	}
}

// Ack removes items that the broker has acknowledged, and all older ones of their
// lanes; of what was rejected, the items alone. An item that the queue does not have
// any more is passed over. It costs no commit of its own: a crash before the next
// one lets the items come again. The error is always nil.
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

// Stats is what the queue holds and has done since it was opened.
type Stats struct {
	Backlog  int    // readings and events not acknowledged
	Memory   int    // of these, in memory alone
	Rejected int    // readings and events that were rejected: they wait no longer
	Dropped  uint64 // readings that left without an acknowledgement
	// readings declared as missing, whatever took them; of those before the start, what
	// is not delivered
	Missing uint64
	Failing bool        // the last commit failed, or hangs
	Oldest  clock.Stamp // of the oldest reading or event that waits, or of one shortly before it; zero: none waits

	Commits      uint64 // since the queue was opened
	Written      int64  // bytes, by these commits
	CommitsToday uint64 // since midnight UTC, or since the queue was opened
	WrittenToday int64
}

// Stats reports what the queue holds.
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

// signal leaves a token if there is none. It never waits, and so it may be called
// with the lock held.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
