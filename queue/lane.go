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
// What is in memory is newer than what is in blocks. The oldest part of it may
// be on disk as well, in the tail: a short block that is written anew with each
// commit until it is long enough to become a block.
//
// Numbers never repeat in a file. A number that is missing was dropped.
//
// Queue.mu guards everything in a lane, unless one goroutine has made the lane for itself.
// It has more methods than other types, because each changes all parts together and keeps
// the invariants that the comments of the parts state.
type lane struct {
	laneNumbers
	disk    laneDisk
	cache   laneCache
	mem     fifo          // what is newer than the blocks: the last numbers before next, without a hole
	history streamHistory // of the streams, for the day that the file is lost
}

// laneNumbers are the lane's places in the order of Put, all under Queue.mu:
//
//	first <= next, issued < next, committing < next
//
// They only grow while the same file is open, but for committing.
type laneNumbers struct {
	first uint64 // of the oldest reading that is not acknowledged
	next  uint64 // of the next reading put
	// issued is the newest reading that Peek has ever returned: up to it, all may
	// have arrived, and nothing is evicted.
	issued uint64

	attempted  uint64 // every reading below it was in a commit, whether it succeeded or not: Put waits for that
	committing uint64 // the newest reading in the commit under way, 0 if there is none; it stays in memory until then
}

// laneDisk is what the writer knows of the lane's part in the file, under
// Queue.mu. It learns of blocks only when a commit has succeeded, or when the
// file was read anew after one that failed.
//
//	savedFirst <= first
//	lastBlock < number of the oldest reading in memory
//	there is a tail if lastTail > lastBlock; all of it is in memory, too
type laneDisk struct {
	lastBlock  uint64 // number of the newest reading in blocks, 0 if there is none
	lastTail   uint64 // number of the newest reading in the tail, 0 if there is none
	savedFirst uint64 // the cursor in the file: first, as of the last commit that wrote it
	readings   int    // in blocks and not acknowledged
	// oldest is the time of the oldest of these, or of one shortly before it: what
	// is read of the blocks later knows better.
	oldest    clock.Stamp
	suspect   bool // readings may be missing in blocks although no block is damaged
	evicting  bool // a commit in progress may evict items: Peek issues no further ones
	evictions int  // counts them: a block that was read before one is stale
}

// laneCache is what was read of the blocks, oldest first, under Queue.mu. All of
// it is in blocks, and all that was issued of the blocks is in head.
type laneCache struct {
	readTo uint64   // blocks up to here were read, or cannot be
	head   []Item   // the oldest readings in blocks that are not acknowledged
	ends   []runEnd // of the blocks in head, in order
	seqs   seqs     // the last of each stream that was in head and is acknowledged, or was evicted
}

// runEnd is the end of a block in head. The gaps of a block are thinned out
// readings, and may still be merged by an eviction; they are final, and sent, when
// its last reading is acknowledged.
type runEnd struct {
	last uint64
	gaps []Gap
}

// newLane is an empty lane: numbers begin at 1.
func newLane() lane { return lane{laneNumbers: laneNumbers{first: 1, next: 1}} }

// push adds an item at the new end and returns its number, the next one. It is not
// on disk then; [backlog.makeRoomLocked] has seen to the memory.
func (l *lane) push(it Item) uint64 {
	it.number = l.next
	l.mem.push(it)
	l.next++
	return it.number
}

// firstInMemory is the number of the oldest reading in memory, or next if there is
// none: numbers in memory have no hole.
func (l *lane) firstInMemory() uint64 { return l.next - uint64(l.mem.len()) }

// unsynced returns the items in memory that are not on disk: all but those that the
// tail has, too. A power cut would take them.
func (l *lane) unsynced() []Item {
	in := l.firstInMemory()
	if l.disk.lastTail < in {
		return l.mem.items()
	}
	return l.mem.items()[l.disk.lastTail+1-in:]
}

// nextToLoad is the number from which to read the blocks on, so that head holds
// want readings or all there are.
func (l *lane) nextToLoad(want int) (from uint64, needed bool) {
	from = max(l.first, l.cache.readTo+1)
	if n := len(l.cache.head); n > 0 {
		from = max(from, l.cache.head[n-1].number+1)
	}
	return from, len(l.cache.head) < want && from <= l.disk.lastBlock
}

// loaded takes the block that was read from a number on. Without items there is
// nothing to read up to last: all of it was evicted or is damaged, and first moves
// beyond it.
func (l *lane) loaded(r run, last uint64) {
	if len(r.items) > 0 {
		l.cache.head = append(l.cache.head, r.items...)
		l.cache.ends = append(l.cache.ends, runEnd{r.last(), r.gaps})
		l.first = max(l.first, l.cache.head[0].number)
		return
	}
	l.cache.readTo = max(l.cache.readTo, last)
	if len(l.cache.head) == 0 {
		l.first = max(l.first, last+1)
		if l.first > l.disk.lastBlock {
			l.disk.readings = 0
		}
		l.skipHole()
	}
}

// peek appends the oldest items beyond a number, at most limit, and notes that
// they are issued. During an eviction these are only what was issued
// before.
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
		l.issued = max(l.issued, items[len(items)-1].number) // the call before may have had more room
	}
	return items
}

// ack takes out everything up to number, and returns the gaps that are final.
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
		// What leaves here was delivered: it tells what damage behind it has taken.
		l.cache.seqs.observeRun(run{items: l.mem.items()[:n]})
		l.mem.pop(n)
	}
	l.skipHole()
	return final
}

// countAcked takes out of head, and counts, what is acknowledged in blocks.
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

// skipHole moves first over numbers between the blocks and memory that are gone:
// they were dropped. Without that, the lane would wait for them.
func (l *lane) skipHole() {
	if in := l.firstInMemory(); l.first > l.disk.lastBlock && l.first < in {
		l.first = in
	}
}

// dropOldestInMemory gives up a reading for want of memory. There is one, and it was
// not issued; the caller declares it.
func (l *lane) dropOldestInMemory() Item {
	it := l.mem.items()[0]
	l.mem.pop(1)
	l.skipHole()
	return it
}

// movedToBlocks takes note that a commit has put everything up to number into
// blocks: it leaves memory, and is read again when its turn comes. What was
// acknowledged while the commit ran has left memory before, and is not counted.
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

// leaveMemory lets the oldest n readings in memory go, because they are in
// blocks. What was issued of them goes to head: the blocks before it were
// all read by then, and it will be acknowledged by its number.
func (l *lane) leaveMemory(n int) {
	items := l.mem.items()[:n]
	given := run{items: items[:countBelow(items, l.issued+1)]}
	l.cache.seqs.observeRun(given)
	l.cache.head = append(l.cache.head, given.items...)
	l.mem.pop(n)
}

// evicted takes over what an eviction did to the blocks: gone readings, the last
// of them from a time that may be zero, and what was read of them before is stale.
func (l *lane) evicted(gone int, last clock.Stamp) {
	if last != (clock.Stamp{}) {
		l.disk.oldest = last
	}
	for len(l.cache.head) > 0 && l.cache.head[len(l.cache.head)-1].number > l.issued {
		l.cache.head = l.cache.head[:len(l.cache.head)-1]
	}
	// Of a block that was cut off in head, the gaps are read again with it.
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

// reconcile takes over what the file says after a commit that failed and may
// have landed all the same.
func (l *lane) reconcile(there *lane) {
	if in := l.firstInMemory(); there.disk.lastBlock >= in {
		l.leaveMemory(int(min(there.disk.lastBlock+1, l.next) - in))
	}
	l.disk.lastBlock = max(l.disk.lastBlock, there.disk.lastBlock)
	l.disk.lastTail, l.disk.savedFirst = there.disk.lastTail, there.disk.savedFirst
	l.evicted(0, there.disk.oldest) // and what was read may be gone
	l.disk.readings = there.disk.readings
}

// oldest is the time of the oldest reading that waits, if there is one.
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

// waiting counts the readings that are not acknowledged. Those in a damaged block
// that nobody has tried to read yet are among them.
func (l *lane) waiting() int { return l.disk.readings + l.mem.len() }

// onDisk is the number of the newest reading on disk.
func (l *lane) onDisk() uint64 { return max(l.disk.lastBlock, l.disk.lastTail) }

// waitingOnDisk reports whether readings on disk are not acknowledged.
func (l *lane) waitingOnDisk() bool { return l.first <= l.onDisk() }

// cursor is what the file should have for first: no more than one beyond what is
// on disk, because later numbers may be given again after a crash.
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

// items are all items, oldest first. The slice is good until the next push or pop.
func (f *fifo) items() []Item { return f.buf[f.head:] }

// push adds an item at the end. A buffer that grows from below burstOver gets no more room
// than that: so pop keeps the buffer that many sensors with one interval fill again and again.
func (f *fifo) push(it Item) {
	if n := len(f.buf); n == cap(f.buf) && n < burstOver {
		f.buf = append(make([]Item, 0, min(max(2*n, 1), burstOver)), f.buf...)
	}
	f.buf = append(f.buf, it)
}

// pop removes the oldest n items, of which there are as many. It moves the rest to
// the front when half of the buffer is empty, so an item is moved once on average.
// A buffer with room for more than burstOver is given back.
func (f *fifo) pop(n int) {
	clear(f.buf[f.head : f.head+n]) // the strings can be collected
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

// passed counts the readings in head up to a number: those that a cursor at that
// number has passed. Numbers ascend in head, but may have holes.
func (l *lane) passed(number uint64) int {
	if len(l.cache.head) == 0 || l.cache.head[0].number > number {
		return 0
	}
	return sort.Search(len(l.cache.head), func(i int) bool { return l.cache.head[i].number > number })
}
