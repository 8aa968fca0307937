package queue

import (
	"log/slog"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A backlog is the state that Queue.mu guards: the waiting items, and what is known about
// the file. Its methods do not lock: those that end in Locked need the lock of the caller.
// They do not wait and do not touch the disk. It has more methods than other types, because
// each changes the whole state in one step and keeps the invariants that the comments of
// the fields state.
//
// A reading that was put is in exactly one place until it is acknowledged: in a
// lane, in rejects, or declared in gaps.
type backlog struct {
	// Open sets these fields, and they do not change after the first Put, so they are read
	// without the lock. Only opt.Unsaved is cleared later, by openFile with the lock.
	opt   Options
	log   *slog.Logger
	boot  string    // see countStart
	start time.Time // of the monotonic times in Item.put

	unclean uint64 // see Queue.UncleanStart; written with boot

	// Signals, used with and without the lock. Each holds at most one token.
	arrived chan struct{} // Peek may have new items
	work    chan struct{} // the writer should check what is due

	lanes   [2]lane // by sensors.Priority
	gaps    gaps    // are sent after alarms and before routine readings
	rejects rejects // the items that the broker has rejected
	counts  counters
	storage storage
	opened  openedFile
}

// openedFile is the file that the queue works with. Only the writer replaces it,
// under Queue.mu; the writer's goroutine reads it without the lock, all others
// with it.
type openedFile struct {
	file       *file  // nil while there is none: memory only
	detached   bool   // there was a file that can be neither read nor written; then file is nil
	owner      string // the client ID in the file after the last successful commit
	generation int    // grows with each file, because numbers are valid only for one file
}

// counters has what Stats and Recent report, and the number of the last event. Queue.mu
// guards it. The counters only grow.
type counters struct {
	dropped    uint64 // readings that were removed without an acknowledgement
	loggedDrop string // the last reason for dropping that was logged
	events     uint64 // the number of the last event
	recent     []Item // the last events, oldest first, at most maxRecent
	commits    uint64 // successful commits
	written    int64  // bytes, by these commits
	day        dayCounters
}

// dayCounters are the values of the counters when the day began or the queue was opened.
type dayCounters struct {
	number  int64 // days since 1970, UTC
	commits uint64
	written int64
}

// newDay restarts the counters of the day after midnight UTC.
func (c *counters) newDay() {
	if today := time.Now().Unix() / (24 * 60 * 60); today != c.day.number {
		c.day = dayCounters{today, c.commits, c.written}
	}
}

// storage is the state that the writer shares with the callers that wait for the disk, under
// Queue.mu.
type storage struct {
	// commitEnded is closed after each commit, whether it succeeded or not, and
	// then replaced. It is also closed when an acknowledgement may end a wait.
	commitEnded   chan struct{}
	lastCommit    time.Time // when the last commit ended
	writing       bool      // a commit is in progress
	failing       bool      // the last commit failed
	hangs         bool      // a commit has lasted longer than diskTimeout; cleared when it ends
	awaited       bool      // awaitAlarms runs
	burst         bool      // a lane had spillEarly readings in memory: freed when the burst is over
	crowded       bool      // memory was full although the disk works; cleared when the burst is over
	purging       bool      // the next commit drops everything except what was issued
	readFailed    bool      // a read of the file failed: the writer has to open it again
	fileChecked   time.Time // when the writer last checked that the file is still at its path
	savedTimeline uint64    // version of the clock's timeline that the file has
}

// wakeWaiting wakes every call that waits for a commit, to check its condition again.
func (s *storage) wakeWaiting() {
	close(s.commitEnded)
	s.commitEnded = make(chan struct{})
}

// pushLocked adds an item to its lane, and signals the sender and the writer. It returns the
// number of the item, or 0 if memory has no room for it: then a gap declares it.
func (b *backlog) pushLocked(it Item) (number uint64) {
	l := &b.lanes[it.Priority]
	it.put, it.generation = time.Since(b.start), b.opened.generation
	if !b.makeRoomLocked(it.Priority) {
		b.droppedLocked(1, gapsOf(run{items: []Item{it}}), b.whyFullLocked())
		return 0
	}
	number = l.push(it)
	if it.Event == "" {
		l.history.observe(it, b.boot)
	}
	signal(b.arrived)
	// The first reading sets the writer's deadline; those after it do not change it.
	if l.mem.len() >= spillEarly {
		b.storage.burst = true
	}
	if n := len(l.unsynced()); n <= 1 || n >= spillEarly || it.Priority == sensors.Alarm {
		signal(b.work)
	}
	return number
}

// memoryFullLocked reports whether another routine reading would displace one in memory.
func (b *backlog) memoryFullLocked() bool {
	return b.lanes[0].mem.len()+b.lanes[1].mem.len() >= maxInMemory
}

// diskWorksLocked reports whether the next commit is expected to succeed.
func (b *backlog) diskWorksLocked() bool {
	return b.opened.file != nil && !b.storage.failing && !b.storage.hangs
}

// whyFullLocked returns why memory is full, for the log.
func (b *backlog) whyFullLocked() string {
	if b.diskWorksLocked() {
		return "readings come faster than the disk takes them, and memory is full"
	}
	return "the disk fails and memory is full"
}

// makeRoomLocked makes room in memory for one more reading: it drops the oldest one that was
// not issued and is not in a commit in progress, a routine reading before an alarm. It
// reports false if there is none: then the new reading is dropped. Alarms may use twice as
// much memory as routine readings.
func (b *backlog) makeRoomLocked(p sensors.Priority) bool {
	total := b.lanes[0].mem.len() + b.lanes[1].mem.len()
	if total < maxInMemory {
		return true
	}
	for _, from := range [...]sensors.Priority{sensors.Routine, sensors.Alarm} {
		if l := &b.lanes[from]; from <= p && l.mem.len() > 0 && l.mem.items()[0].number > max(l.issued, l.committing) {
			it := l.dropOldestInMemory()
			b.droppedLocked(1, gapsOf(run{items: []Item{it}}), b.whyFullLocked())
			return true
		}
	}
	return p == sensors.Alarm && total < 2*maxInMemory
}

// droppedLocked declares n dropped readings. It logs only a new reason, because a full disk
// may drop readings for hours.
func (b *backlog) droppedLocked(n int, gaps []Gap, why string) {
	for _, g := range gaps {
		b.gaps.add(g)
	}
	if n == 0 {
		return
	}
	b.counts.dropped += uint64(n)
	signal(b.arrived)
	if why != b.counts.loggedDrop {
		b.counts.loggedDrop = why
		b.log.Error("readings dropped", "why", why, "dropped", b.counts.dropped)
	}
}

// ackLocked removes one item, and the older ones of its lane. It ignores an item from an
// earlier file, whose number belongs to another item now.
func (b *backlog) ackLocked(it *Item) {
	switch {
	case it.Event == gapEvent && !it.rejected:
		b.gaps.ack(it.Seq)
	case it.generation != b.opened.generation:
		return // Peek returns it again
	case it.rejected:
		b.rejects.ack(it.number)
	default:
		for _, g := range b.lanes[it.Priority].ack(it.number) {
			b.gaps.add(g)
			signal(b.arrived)
		}
	}
}

// reportLocked adds an event of the queue itself or of another package.
func (b *backlog) reportLocked(event string, at clock.Stamp, details string) {
	it := b.eventLocked(at)
	it.Event, it.Details = event, details
	b.counts.remember(it)
	b.pushLocked(it)
}

// eventLocked makes an event with the next number, without a name.
func (b *backlog) eventLocked(at clock.Stamp) Item {
	b.counts.events++
	return Item{Boot: b.boot, Reading: sensors.Reading{Seq: b.counts.events, At: at, Priority: sensors.Alarm}}
}

// hangLocked records, logs and reports that the disk hangs.
func (b *backlog) hangLocked() {
	if b.storage.hangs {
		return
	}
	b.storage.hangs = true
	b.log.Error("storage hangs: new readings are in memory only", "waited", diskTimeout)
	b.reportLocked("storage", b.opt.Clock.Now(), `{"state":"hangs"}`)
}

// storageLocked records the result of a commit. It logs and reports when the disk starts and
// when it stops failing.
func (b *backlog) storageLocked(err error) {
	hung := b.storage.hangs
	b.storage.hangs = false
	switch failing := err != nil; {
	case failing && !b.storage.failing:
		b.log.Error("storage fails: readings are kept in memory", "err", err)
		b.reportLocked("storage", b.opt.Clock.Now(), jsonObject("state", "fails", "error", err.Error()))
	case !failing && (b.storage.failing || hung):
		b.log.Info("storage works again")
		b.reportLocked("storage", b.opt.Clock.Now(), `{"state":"works"}`)
	}
	b.storage.failing = err != nil
}

// noteUnreadableLocked makes the writer open a file again that could not be read, and salvage
// it if it is damaged. It reports false if another file is open by now.
func (b *backlog) noteUnreadableLocked(f *file) bool {
	if b.opened.file != f {
		return false
	}
	b.storage.readFailed = true
	signal(b.work)
	return true
}

// spillAt returns when the commit of an item must begin: a little before SyncEvery has
// passed, so that it ends in time. It needs no lock.
func (b *backlog) spillAt(it Item) time.Time {
	early := min(b.opt.SyncEvery/20, 250*time.Millisecond)
	return b.start.Add(it.put + b.opt.SyncEvery - early)
}

// routineDueLocked returns when the commit of the routine readings that are not on disk must
// begin. There must be at least one.
func (b *backlog) routineDueLocked() time.Time {
	unsynced := b.lanes[sensors.Routine].unsynced()
	if len(unsynced) >= spillEarly {
		return b.storage.lastCommit // at once
	}
	return b.spillAt(unsynced[0])
}
