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
//   - An alarm is on disk when Put returns, unless the disk fails: then it is
//     in memory, the log says so, and it is written when the disk works again.
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
// Put, Report, Declare, Ack, Reject, Purge, Adopt, Arrived and Stats may be called
// from any goroutine at any time between Open and Close. Peek and Rejected are for
// one goroutine at a time, the sender; a Cursor belongs to it. Run is called once,
// and Close after Run has returned. Only Put of an alarm, Reject of an alarm,
// Purge and Adopt wait for the disk, each for a bounded time; Peek and Rejected
// wait for a read of at most 2 s. No method holds the queue's lock while the disk
// works, except where a failed file is opened again.
//
// One process has a file open: Open returns [ErrLocked] to a second one. [Inspect]
// reads the file of a running agent without a lock.
package queue

import (
	"log/slog"
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
}

const (
	maxInMemory  = 32768           // readings of both lanes: 6 MB, what a failing disk may cost
	spillEarly   = 8192            // readings of a lane in memory before their time
	diskPatience = 2 * time.Second // that Put waits for a disk that neither succeeds nor fails
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
// drain. Run is called once.
//
// It has more methods than other types: one mutex guards one state, and each
// step on it is a method whose name says whether the lock is held.
type Queue struct {
	opt   Options
	log   *slog.Logger
	boot  string    // set before the first Put: see countStart
	start time.Time // of the monotonic times in Item.put

	arrived chan struct{} // holds one token: something was put
	work    chan struct{} // holds one token: the writer should look again
	stopped chan struct{} // closed when Run has returned

	// mu guards all that follows, but for reads. No reading and no writing of the
	// file happens under it, with one exception: see reloadLocked.
	mu      sync.Mutex
	lanes   [2]lane // by sensors.Priority
	gaps    gaps    // come after the alarms and before routine readings
	rejects rejects // what the broker has refused
	counts  counters
	writer  writer
	opened  openedFile

	reads [len(bucketLanes) + 1]*pendingRead // for the goroutine that calls Peek, without a lock
}

// openedFile is the file that the queue works with, under Queue.mu. Only the
// writer's goroutine replaces it, and so that goroutine reads it without the
// lock.
type openedFile struct {
	file       *file  // nil while there is none: memory only
	detached   bool   // there was one, and it can be neither read nor written
	owner      string // the client ID that the file has
	generation int    // counts the files: a number that an earlier one gave means nothing
}

// counters are what Stats reports and numbers that are never given twice, under
// Queue.mu.
type counters struct {
	dropped    uint64 // readings that left without an acknowledgement
	loggedDrop string // the last reason for dropping that was logged
	events     uint64 // numbers given to events
	recent     []Item // the last events, oldest first, at most maxRecent
	commits    uint64
	written    int64 // bytes
	day        struct {
		number  int64 // days since 1970, UTC
		commits uint64
		written int64
	}
}

// Boot names this start of the agent: a number that counts the starts, and
// eight random digits that make it unique.
func (q *Queue) Boot() string { return q.boot }

// Put adds a reading. The drain sees it at once. An alarm is on disk when Put
// returns; alarms put together share a commit.
func (q *Queue) Put(r sensors.Reading) {
	q.mu.Lock()
	defer q.mu.Unlock()
	number := q.pushLocked(Item{Reading: r, Boot: q.boot})
	if r.Priority == sensors.Alarm {
		q.waitAttemptedLocked(&q.lanes[sensors.Alarm], number)
	}
}

func (q *Queue) pushLocked(it Item) (number uint64) {
	l := &q.lanes[it.Priority]
	it.put, it.generation = time.Since(q.start), q.opened.generation
	if !q.makeRoomLocked(it.Priority) {
		q.droppedLocked(1, gapsOf(run{items: []Item{it}}), becauseMemory)
		return 0
	}
	number = l.push(it)
	if it.Event == "" {
		l.history.observe(it, q.boot)
	}
	signal(q.arrived)
	if n := len(l.unsynced()); n <= 1 || n >= spillEarly || it.Priority == sensors.Alarm {
		signal(q.work)
	}
	return number
}

// waitAttemptedLocked waits until a commit that holds the reading has ended. It
// does not wait for a disk that hangs.
func (q *Queue) waitAttemptedLocked(l *lane, number uint64) {
	if q.opened.file == nil || q.writer.hangs {
		return
	}
	patience := time.NewTimer(diskPatience)
	defer patience.Stop()
	for l.attempted <= number && l.first <= number && !q.writer.hangs {
		tried := q.writer.commitEnded
		q.mu.Unlock()
		ended, hangs := false, false
		select {
		case <-tried:
		case <-q.stopped:
			ended = true // Close writes what is left
		case <-patience.C:
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

// hangLocked says that the disk neither succeeds nor fails.
func (q *Queue) hangLocked() {
	if q.writer.hangs {
		return
	}
	q.writer.hangs = true
	q.log.Error("storage hangs: alarms are in memory only", "waited", diskPatience)
	q.reportLocked("storage", q.opt.Clock.Now(), `{"state":"hangs"}`)
}

// Ack removes items that the broker has acknowledged, and all older ones of
// their lanes; of what was rejected, the items alone. It costs no commit of its
// own.
func (q *Queue) Ack(items []Item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		q.ackLocked(it)
	}
	q.wakePutLocked()
	signal(q.work)
	return nil
}

func (q *Queue) ackLocked(it Item) {
	switch {
	case it.Event == gapEvent && !it.rejected:
		q.gaps.ack(it.Seq)
	case it.generation != q.opened.generation:
		return // it comes again
	case it.rejected:
		q.rejects.ack(it.number)
	default:
		for _, g := range q.lanes[it.Priority].ack(it.number) {
			q.gaps.add(g)
			signal(q.arrived)
		}
	}
}

// Stats is what the queue holds and has done since it was opened.
type Stats struct {
	Backlog  int         // readings and events not acknowledged
	Memory   int         // of these, in memory alone
	Rejected int         // readings and events that were rejected: they wait no longer
	Dropped  uint64      // readings that left without an acknowledgement
	Missing  uint64      // readings declared as missing, whatever took them; of those before the start, what is not delivered
	Failing  bool        // the last commit failed, or hangs
	Oldest   clock.Stamp // of the oldest reading or event that waits, or of one shortly before it; zero: none waits

	Commits      uint64 // since the queue was opened
	Written      int64  // bytes, by these commits
	CommitsToday uint64 // since midnight UTC, or since the queue was opened
	WrittenToday int64
}

// Stats reports what the queue holds.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.newDayLocked()
	s := Stats{Rejected: q.rejects.count(), Dropped: q.counts.dropped, Missing: q.gaps.missing, Failing: q.writer.failing || q.writer.hangs,
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

const becauseMemory = "the disk fails and memory is full"

// makeRoomLocked makes room in memory for one more reading: it drops the oldest,
// routine before alarm, that was not issued and is in no commit under way.
// It reports false if there is none such: then what comes is dropped. Alarms
// may take twice as much.
func (q *Queue) makeRoomLocked(p sensors.Priority) bool {
	total := q.lanes[0].mem.len() + q.lanes[1].mem.len()
	if total < maxInMemory {
		return true
	}
	for _, from := range [...]sensors.Priority{sensors.Routine, sensors.Alarm} {
		if l := &q.lanes[from]; from <= p && l.mem.len() > 0 && l.mem.items()[0].number > max(l.issued, l.committing) {
			it := l.dropOldestInMemory()
			q.droppedLocked(1, gapsOf(run{items: []Item{it}}), becauseMemory)
			return true
		}
	}
	return p == sensors.Alarm && total < 2*maxInMemory
}

// droppedLocked declares the loss of n readings, and says so when it starts.
func (q *Queue) droppedLocked(n int, gaps []Gap, why string) {
	for _, g := range gaps {
		q.gaps.add(g)
	}
	if n == 0 {
		return
	}
	q.counts.dropped += uint64(n)
	signal(q.arrived)
	if why != q.counts.loggedDrop {
		q.counts.loggedDrop = why
		q.log.Error("readings dropped", "why", why, "dropped", q.counts.dropped)
	}
}

// signal leaves a token if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
