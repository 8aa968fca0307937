package queue

import (
	"sort"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A lane is one priority's readings, oldest first:
//
//	first ........ disk | ........ tail ........ next
//	   blocks on disk   |       in memory
//	                    | on disk too |
//
// The readings in memory are newer than those in blocks. The oldest of them may be on disk
// as well, in the tail: a short block that each commit replaces by a longer one, until it
// is long enough to become a block.
//
// A number is never used twice in a file. A missing number was dropped.
//
// Queue.mu guards everything in a lane, unless one goroutine has made the lane for itself.
// It has more methods than other types, because each changes all parts together and keeps
// the invariants that the comments of the parts state.
type lane struct {
	laneNumbers
	disk    laneDisk
	cache   laneCache
	mem     fifo          // the readings in memory: the last numbers before next, without a hole
	history streamHistory // to declare readings if the file is lost
}

// laneNumbers are numbers of readings, which count in the order of Put. Queue.mu guards them:
//
//	first <= next, issued < next, committing < next
//
// They only grow while the same file is open, except committing.
type laneNumbers struct {
	first uint64 // of the oldest reading that is not acknowledged
	next  uint64 // of the next reading put
	// issued is the newest reading that Peek has returned. Readings up to it may have
	// arrived, so they are not evicted.
	issued uint64

	attempted  uint64 // every reading below it was in a commit, whether it succeeded or not: Put waits for that
	committing uint64 // the newest reading in the commit in progress, 0: none; up to it readings stay in memory
}

// laneDisk describes the lane's part of the file. Queue.mu guards it. It changes only after
// a commit has succeeded, or when the file was read again after a failed one.
//
//	savedFirst <= first
//	lastBlock < number of the oldest reading in memory
//	there is a tail if lastTail > lastBlock; all of it is in memory, too
type laneDisk struct {
	lastBlock  uint64 // number of the newest reading in blocks, 0 if there is none
	lastTail   uint64 // number of the newest reading in the tail, 0 if there is none
	savedFirst uint64 // the cursor in the file: first, as of the last commit that wrote it
	readings   int    // in blocks and not acknowledged
	// oldest is the time of the oldest of these, or of one shortly before it. It is
	// corrected when the block is read.
	oldest    clock.Stamp
	suspect   bool // readings may be missing in blocks although no block is damaged
	evicting  bool // a commit in progress may evict items: Peek issues no further ones
	evictions int  // how many there were: a block that was read before the last one is stale
}

// laneCache holds the readings that were read from blocks, oldest first. Queue.mu guards
// it. All readings in blocks that were issued are in head.
type laneCache struct {
	readTo uint64   // blocks up to this number were read, or cannot be read
	head   []Item   // the oldest readings in blocks that are not acknowledged
	ends   []runEnd // of the blocks in head, in order
	seqs   seqs     // the last seq of each stream that was in head and is acknowledged, or was evicted
}

// runEnd is the end of a block in head, with its gaps for readings that were thinned out.
// An eviction may still merge these gaps, so they are declared only when the last reading
// of the block is acknowledged.
type runEnd struct {
	last uint64
	gaps []Gap
}

// newLane returns an empty lane: numbers begin at 1.
func newLane() lane { return lane{laneNumbers: laneNumbers{first: 1, next: 1}} }

// push appends an item in memory and returns its number. [backlog.makeRoomLocked] must have
// made room for it.
func (l *lane) push(it Item) uint64 {
	it.number = l.next
	l.mem.push(it)
	l.next++
	return it.number
}

// firstInMemory returns the number of the oldest reading in memory, or next if there is
// none. It relies on numbers in memory having no hole.
func (l *lane) firstInMemory() uint64 { return l.next - uint64(l.mem.len()) }

// unsynced returns the items in memory that are not in the tail on disk. A power cut would
// lose them.
func (l *lane) unsynced() []Item {
	in := l.firstInMemory()
	if l.disk.lastTail < in {
		return l.mem.items()
	}
	return l.mem.items()[l.disk.lastTail+1-in:]
}

// nextToLoad returns from which number on blocks must be read so that head has want
// readings, or all there are.
func (l *lane) nextToLoad(want int) (from uint64, needed bool) {
	from = max(l.first, l.cache.readTo+1)
	if n := len(l.cache.head); n > 0 {
		from = max(from, l.cache.head[n-1].number+1)
	}
	return from, len(l.cache.head) < want && from <= l.disk.lastBlock
}

// loaded adds a block that was read to head. A block without items means that everything
// up to last was evicted or is damaged: then first skips it.
func (l *lane) loaded(r run, last uint64) {
	if len(r.items) > 0 {
		l.cache.head = append(l.cache.head, r.items...)
		l.cache.ends = append(l.cache.ends, runEnd{r.last(), r.gaps})
		l.first = max(l.first, l.cache.head[0].number)
		return
	}
	l.cache.readTo = max(l.cache.readTo, last)
	l.skipUnreadable()
}

// skipUnreadable moves first past blocks that were evicted or are damaged, if nothing
// before them waits. Without it they would count as waiting until a newer item is
// acknowledged.
func (l *lane) skipUnreadable() {
	if len(l.cache.head) > 0 || l.first > l.cache.readTo {
		return
	}
	l.first = l.cache.readTo + 1
	if l.first > l.disk.lastBlock {
		l.disk.readings = 0
	}
	l.skipHole()
}

// peek appends the oldest items after a number, at most limit, and marks them as issued.
// During an eviction it appends only items that were issued before.
func (l *lane) peek(items []Item, limit int, after uint64) []Item {
	n := len(items)
	// Blocks first, then memory, and memory only when all blocks were read: an item
	// never passes an older one of its lane.
	head := l.cache.head[l.passed(after):]
	items = append(items, head[:min(limit, len(head))]...)
	if from, _ := l.nextToLoad(0); from > l.disk.lastBlock {
		mem := l.mem.items()
		if in := l.firstInMemory(); after >= in {
			mem = mem[min(int(after+1-in), len(mem)):]
		}
		items = append(items, mem[:min(limit-(len(items)-n), len(mem))]...)
	}
	if l.disk.evicting {
		for len(items) > n && items[len(items)-1].number > l.issued {
			items = items[:len(items)-1]
		}
	}
	if len(items) > n {
		l.issued = max(l.issued, items[len(items)-1].number) // an earlier call may have had a larger limit
	}
	return items
}

// ack removes everything up to a number, and returns the gaps that are final now.
func (l *lane) ack(number uint64) (final []Gap) {
	if number < l.first {
		return nil
	}
	l.countAcked(number)
	// From here on first > number, so a second ack of the same item does nothing.
	l.first = number + 1
	for len(l.cache.ends) > 0 && l.cache.ends[0].last < l.first {
		final = append(final, l.cache.ends[0].gaps...)
		l.cache.ends = l.cache.ends[1:]
	}
	if in := l.firstInMemory(); l.first > in {
		n := int(min(l.first, l.next) - in)
		// These seqs show later which readings after them are missing because of damage.
		l.cache.seqs.observeRun(run{items: l.mem.items()[:n]})
		l.mem.pop(n)
	}
	l.skipHole()
	l.skipUnreadable()
	return final
}

// countAcked removes acknowledged readings from head, and subtracts them from disk.readings.
func (l *lane) countAcked(number uint64) {
	n := countBelow(l.cache.head, number+1)
	if n > 0 {
		l.disk.oldest = l.cache.head[n-1].At
	}
	l.cache.head = l.cache.head[n:]
	if l.disk.readings -= n; number >= l.disk.lastBlock {
		l.disk.readings = 0
	}
}

// skipHole moves first over numbers between the blocks and memory that were dropped.
// Otherwise the lane would wait for them.
func (l *lane) skipHole() {
	if in := l.firstInMemory(); l.first > l.disk.lastBlock && l.first < in {
		l.first = in
	}
}

// dropOldestInMemory drops the oldest reading in memory. There must be one that was not
// issued. The caller declares it.
func (l *lane) dropOldestInMemory() Item {
	it := l.mem.items()[0]
	l.mem.pop(1)
	l.skipHole()
	return it
}

// movedToBlocks is called after a commit has written everything up to a number into blocks.
// It removes these readings from memory; they are read again when Peek needs them. Those
// that were acknowledged during the commit are not in memory any more and are not counted.
func (l *lane) movedToBlocks(number uint64) {
	in := l.firstInMemory()
	if number >= in {
		n := int(number + 1 - in)
		if l.disk.readings == 0 && n > 0 {
			l.disk.oldest = l.mem.items()[0].At
		}
		l.disk.readings += n
		l.leaveMemory(n)
	}
	l.disk.lastBlock = number
}

// leaveMemory removes the oldest n readings from memory, because they are in blocks. Those
// that were issued move to head, so that they can be acknowledged by their numbers. All
// blocks before them were read by then.
func (l *lane) leaveMemory(n int) {
	items := l.mem.items()[:n]
	given := run{items: items[:countBelow(items, l.issued+1)]}
	l.cache.seqs.observeRun(given)
	l.cache.head = append(l.cache.head, given.items...)
	l.mem.pop(n)
}

// evicted updates the lane after an eviction of gone readings from blocks, the last of them
// measured at a time that may be zero. Readings in head that were not issued are stale now.
func (l *lane) evicted(gone int, last clock.Stamp) {
	if last != (clock.Stamp{}) {
		l.disk.oldest = last
	}
	for len(l.cache.head) > 0 && l.cache.head[len(l.cache.head)-1].number > l.issued {
		l.cache.head = l.cache.head[:len(l.cache.head)-1]
	}
	// The gaps of a block that is only partly left in head will be read again with it.
	keep := 0
	if n := len(l.cache.head); n > 0 {
		for keep < len(l.cache.ends) && l.cache.ends[keep].last <= l.cache.head[n-1].number {
			keep++
		}
	}
	l.cache.ends = l.cache.ends[:keep]
	l.disk.readings -= gone
	l.cache.readTo = min(l.cache.readTo, l.issued)
	l.disk.evictions++
	if l.waiting() == 0 {
		l.first = l.next
	}
}

// reconcile updates the lane with the state of the file after a failed commit, which may be
// on disk nevertheless.
func (l *lane) reconcile(there *lane) {
	if in := l.firstInMemory(); there.disk.lastBlock >= in {
		l.leaveMemory(int(min(there.disk.lastBlock+1, l.next) - in))
	}
	l.disk.lastBlock = max(l.disk.lastBlock, there.disk.lastBlock)
	l.disk.lastTail, l.disk.savedFirst = there.disk.lastTail, there.disk.savedFirst
	l.evicted(0, there.disk.oldest) // the commit may have evicted what was read before
	l.disk.readings = there.disk.readings
}

// oldest returns the time of the oldest reading that waits, if there is one.
func (l *lane) oldest() (at clock.Stamp, ok bool) {
	switch {
	case len(l.cache.head) > 0:
		return l.cache.head[0].At, true
	case l.disk.readings > 0:
		return l.disk.oldest, true
	case l.mem.len() > 0:
		return l.mem.items()[0].At, true
	}
	return at, false
}

// waiting returns the number of readings that are not acknowledged, with those in damaged
// blocks that were not read yet.
func (l *lane) waiting() int { return l.disk.readings + l.mem.len() }

// onDisk returns the number of the newest reading on disk.
func (l *lane) onDisk() uint64 { return max(l.disk.lastBlock, l.disk.lastTail) }

// waitingOnDisk reports whether readings on disk are not acknowledged.
func (l *lane) waitingOnDisk() bool { return l.first <= l.onDisk() }

// cursor returns the value of first for the file. It is at most one above the newest
// reading on disk, because higher numbers may be used again after a crash.
func (l *lane) cursor() uint64 { return min(l.first, l.onDisk()+1) }

// dirty reports whether the file's cursor is behind first, and has to be written.
// A file without readings of the lane needs no cursor.
func (l *lane) dirty() bool { return l.onDisk() > 0 && l.cursor() > max(l.disk.savedFirst, 1) }

// A fifo is a queue in a slice. Its buffer is reused, so it does not grow without limit. The items
// are buf[head:], oldest first; what is before head is zero.
type fifo struct {
	buf  []Item
	head int
}

// len counts the items.
func (f *fifo) len() int { return len(f.buf) - f.head }

// items returns all items, oldest first. The slice is valid until the next push or pop.
func (f *fifo) items() []Item { return f.buf[f.head:] }

// push adds an item at the end. A buffer below burstOver grows to at most that capacity, so
// that pop keeps it: many sensors with the same interval fill it again and again.
func (f *fifo) push(it Item) {
	if n := len(f.buf); n == cap(f.buf) && n < burstOver {
		f.buf = append(make([]Item, 0, min(max(2*n, 1), burstOver)), f.buf...)
	}
	f.buf = append(f.buf, it)
}

// pop removes the oldest n items, which must exist. It moves the rest to the front when half
// of the buffer is empty, so each item is moved once on average. It replaces a buffer above
// burstOver by a smaller one when less than an eighth is in use.
func (f *fifo) pop(n int) {
	clear(f.buf[f.head : f.head+n]) // releases the strings
	f.head += n
	if f.head == len(f.buf) || f.head >= 64 && f.head >= len(f.buf)/2 {
		rest := f.buf[f.head:]
		if cap(f.buf) > burstOver && len(rest) < cap(f.buf)/8 {
			f.buf, f.head = append(make([]Item, 0, 2*len(rest)), rest...), 0
			return
		}
		n := copy(f.buf, rest)
		clear(f.buf[n:])
		f.buf, f.head = f.buf[:n], 0
	}
}

// passed returns how many readings in head a cursor at a number has passed. Numbers ascend
// in head, but may have holes.
func (l *lane) passed(number uint64) int {
	if len(l.cache.head) == 0 || l.cache.head[0].number > number {
		return 0
	}
	return sort.Search(len(l.cache.head), func(i int) bool { return l.cache.head[i].number > number })
}
