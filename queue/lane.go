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
// commit until it is worth a place of its own.
//
// Numbers never repeat in a file. A number that is missing was dropped.
type lane struct {
	first      uint64 // number of the oldest reading that is not acknowledged
	next       uint64 // number of the next reading put
	lastBlock  uint64 // number of the newest reading in blocks, 0 if there is none
	lastTail   uint64 // number of the newest reading in the tail, 0 if there is none
	savedFirst uint64 // what the file says about first
	attempted  uint64 // every reading below it was in a commit, failed or not

	blocks  int // readings in blocks that are not acknowledged
	mem     fifo
	readTo  uint64   // blocks up to here are read, or unreadable
	head    []Item   // the oldest readings in blocks, as read; all that were handed out
	seqs    seqs     // of the readings that were in head, acknowledged, or evicted
	ends    []runEnd // of the blocks in head
	history streamHistory

	suspect bool // readings may be missing on disk without a trace

	committing uint64 // number of the newest reading in the commit under way

	issued    uint64 // number of the newest reading ever handed out: up to it, all may have arrived
	evicting  bool   // a commit is evicting what was not handed out
	evictions int    // counts evictions: what was read before one is stale
}

// runEnd is the end of a block in head: the gaps in it are final when its last
// reading is acknowledged.
type runEnd struct {
	last uint64
	gaps []Gap
}

// push adds an item at the new end and returns its number.
func (l *lane) push(it Item) uint64 {
	it.number = l.next
	l.mem.push(it)
	l.next++
	return it.number
}

// firstInMemory is the number of the oldest reading in memory.
func (l *lane) firstInMemory() uint64 { return l.next - uint64(l.mem.len()) }

// unsynced are the items in memory that are not on disk.
func (l *lane) unsynced() []Item {
	in := l.firstInMemory()
	if l.lastTail < in {
		return l.mem.items()
	}
	return l.mem.items()[l.lastTail+1-in:]
}

// toLoad is the number from which to read the blocks on, so that head holds
// want readings or all there are.
func (l *lane) toLoad(want int) (from uint64, needed bool) {
	from = max(l.first, l.readTo+1)
	if n := len(l.head); n > 0 {
		from = max(from, l.head[n-1].number+1)
	}
	return from, len(l.head) < want && from <= l.lastBlock
}

// loaded takes the block that was read from a number on; without items there is
// nothing to read up to last.
func (l *lane) loaded(r run, last uint64) {
	if len(r.items) > 0 {
		l.head = append(l.head, r.items...)
		l.ends = append(l.ends, runEnd{r.last(), r.gaps})
		l.first = max(l.first, l.head[0].number)
		return
	}
	l.readTo = max(l.readTo, last)
	if len(l.head) == 0 {
		l.first = max(l.first, last+1)
		if l.first > l.lastBlock {
			l.blocks = 0
		}
		l.skipHole()
	}
}

// peek appends the oldest items beyond a number, at most most, and notes that
// they are handed out. During an eviction these are only what was handed out
// before.
func (l *lane) peek(items []Item, limit int, after uint64) []Item {
	n := len(items)
	head := l.head[l.passed(after):]
	items = append(items, head[:min(limit, len(head))]...)
	if from, _ := l.toLoad(0); from > l.lastBlock {
		mem := l.mem.items()
		if in := l.firstInMemory(); after >= in {
			mem = mem[min(int(after+1-in), len(mem)):]
		}
		items = append(items, mem[:min(limit-(len(items)-n), len(mem))]...)
	}
	if l.evicting {
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
	l.first = number + 1
	for len(l.ends) > 0 && l.ends[0].last < l.first {
		final = append(final, l.ends[0].gaps...)
		l.ends = l.ends[1:]
	}
	if in := l.firstInMemory(); l.first > in {
		n := int(min(l.first, l.next) - in)
		l.seqs.observeRun(run{items: l.mem.items()[:n]})
		l.mem.pop(n)
	}
	l.skipHole()
	return final
}

// countAcked takes out of head, and counts, what is acknowledged in blocks.
func (l *lane) countAcked(number uint64) {
	n := countBelow(l.head, number+1)
	l.head = l.head[n:]
	if l.blocks -= n; number >= l.lastBlock {
		l.blocks = 0
	}
}

// skipHole moves first over numbers between the blocks and memory that are gone.
func (l *lane) skipHole() {
	if in := l.firstInMemory(); l.first > l.lastBlock && l.first < in {
		l.first = in
	}
}

// dropOldestInMemory gives up a reading for want of memory.
func (l *lane) dropOldestInMemory() Item {
	it := l.mem.items()[0]
	l.mem.pop(1)
	l.skipHole()
	return it
}

// movedToBlocks says that everything up to number is in blocks; n readings were new
// there and are not acknowledged.
func (l *lane) movedToBlocks(number uint64) {
	in := l.firstInMemory()
	if number >= in {
		n := int(number + 1 - in)
		l.blocks += n
		l.leaveMemory(n)
	}
	l.lastBlock = number
}

// leaveMemory lets the oldest n readings in memory go, because they are in
// blocks. What was handed out of them goes to head: the blocks before it were
// all read by then, and it will be acknowledged by its number.
func (l *lane) leaveMemory(n int) {
	items := l.mem.items()[:n]
	given := run{items: items[:countBelow(items, l.issued+1)]}
	l.seqs.observeRun(given)
	l.head = append(l.head, given.items...)
	l.mem.pop(n)
}

// evicted takes over what an eviction did to the blocks: gone readings, and
// what was read of them before is stale.
func (l *lane) evicted(gone int) {
	for len(l.head) > 0 && l.head[len(l.head)-1].number > l.issued {
		l.head = l.head[:len(l.head)-1]
	}
	keep := 0
	for keep < len(l.ends) && len(l.head) > 0 && l.ends[keep].last <= l.head[len(l.head)-1].number {
		keep++
	}
	l.ends = l.ends[:keep]
	l.blocks -= gone
	l.readTo = min(l.readTo, l.issued)
	l.evictions++
	if l.waiting() == 0 {
		l.first = l.next
	}
}

// reconcile takes over what the file says after a commit that failed and may
// have landed all the same.
func (l *lane) reconcile(there *lane) {
	if in := l.firstInMemory(); there.lastBlock >= in {
		l.leaveMemory(int(min(there.lastBlock+1, l.next) - in))
	}
	l.lastBlock, l.lastTail, l.savedFirst = max(l.lastBlock, there.lastBlock), there.lastTail, there.savedFirst
	l.evicted(0) // and what was read may be gone
	l.blocks = there.blocks
}

// oldest is the time of the oldest reading, if it is in memory.
func (l *lane) oldest() (at clock.Stamp, ok bool) {
	switch {
	case len(l.head) > 0:
		return l.head[0].At, true
	case l.blocks == 0 && l.mem.len() > 0:
		return l.mem.items()[0].At, true
	}
	return at, false
}

// waiting counts the readings that wait.
func (l *lane) waiting() int { return l.blocks + l.mem.len() }

// onDisk is the number of the newest reading on disk.
func (l *lane) onDisk() uint64 { return max(l.lastBlock, l.lastTail) }

// waitingOnDisk says that readings on disk are still waiting.
func (l *lane) waitingOnDisk() bool { return l.first <= l.onDisk() }

// cursor is what the file should say about first.
func (l *lane) cursor() uint64 { return min(l.first, l.onDisk()+1) }

// dirty says that the file knows less about first than there is to know.
func (l *lane) dirty() bool { return l.onDisk() > 0 && l.cursor() > max(l.savedFirst, 1) }

// A fifo is a slice that is popped at the front without growing for ever.
type fifo struct {
	buf  []Item
	head int
}

func (f *fifo) len() int { return len(f.buf) - f.head }

func (f *fifo) items() []Item { return f.buf[f.head:] }

func (f *fifo) push(it Item) { f.buf = append(f.buf, it) }

func (f *fifo) pop(n int) {
	clear(f.buf[f.head : f.head+n]) // let go of the strings
	f.head += n
	if f.head == len(f.buf) || f.head >= 64 && f.head >= len(f.buf)/2 {
		rest := copy(f.buf, f.buf[f.head:])
		clear(f.buf[rest:])
		f.buf, f.head = f.buf[:rest], 0
	}
}

// passed counts the readings in head up to a number.
func (l *lane) passed(number uint64) int {
	if len(l.head) == 0 || l.head[0].number > number {
		return 0
	}
	return sort.Search(len(l.head), func(i int) bool { return l.head[i].number > number })
}
