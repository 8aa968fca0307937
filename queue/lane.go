package queue

// A lane is one priority's readings, oldest first:
//
//	first ............ disk | next-mem.len() ............ next
//	       on disk          |          in memory
//
// Numbers never repeat in a file. A number that is missing was dropped.
type lane struct {
	first uint64 // number of the oldest reading that is not acknowledged
	next  uint64 // number of the next reading put
	disk  uint64 // number of the newest reading on disk, 0 if there is none
	saved uint64 // what the file says about first
	tried uint64 // every reading below it was in a commit, failed or not
	holes uint64 // readings dropped from memory while older ones were on disk
	mem   fifo
	head  []Item // the oldest readings on disk, as read
}

// push adds an item at the new end and returns its number.
func (l *lane) push(it Item) uint64 {
	it.number = l.next
	l.mem.push(it)
	l.next++
	return it.number
}

// inMemory is the number of the oldest reading in memory.
func (l *lane) inMemory() uint64 { return l.next - uint64(l.mem.len()) }

// toLoad is the number from which to read the disk on, so that head holds want
// readings or all there are.
func (l *lane) toLoad(want int) (from uint64, needed bool) {
	from = l.first
	if n := len(l.head); n > 0 {
		from = l.head[n-1].number + 1
	}
	return from, len(l.head) < want && from <= l.disk && from < l.inMemory()
}

// loaded takes what was read from disk, oldest first, and returns how many
// readings were owed and are not there. No items: nothing more is readable.
// It reports false if there is a hole behind the head, to be seen to when the
// head is empty.
func (l *lane) loaded(items []Item) (lost int, ok bool) {
	from := min(l.disk+1, l.inMemory())
	if len(items) > 0 {
		from = items[0].number
	}
	if n := len(l.head); n > 0 && from > l.head[n-1].number+1 {
		return 0, false
	}
	if len(l.head) == 0 && from > l.first {
		known := min(from-l.first, l.holes) // counted when they were dropped
		l.holes -= known
		lost = int(from - l.first - known)
		l.first = from
	}
	l.head = append(l.head, items...)
	l.trimHead()
	return lost, true
}

// peek appends the oldest items, at most max.
func (l *lane) peek(items []Item, max int) []Item {
	items = append(items, l.head[:min(max, len(l.head))]...)
	if from, _ := l.toLoad(0); from < l.inMemory() {
		return items // the next are on disk
	}
	mem := l.mem.items()
	return append(items, mem[:min(max-min(max, len(l.head)), len(mem))]...)
}

// ack takes out everything up to number.
func (l *lane) ack(number uint64) {
	if number < l.first {
		return
	}
	l.first = number + 1
	l.trimHead()
	if in := l.inMemory(); l.first > in {
		l.mem.pop(int(min(l.first, l.next) - in))
	}
	l.skipHole()
}

// dropOldestInMemory gives up a reading for want of memory.
func (l *lane) dropOldestInMemory() {
	l.mem.pop(1)
	if l.owesDisk() {
		l.holes++
	}
	l.skipHole()
}

// skipHole moves first over what was dropped between disk and memory.
func (l *lane) skipHole() {
	if in := l.inMemory(); l.first > l.disk && l.first < in {
		l.first, l.holes = in, 0
	}
}

func (l *lane) trimHead() {
	for len(l.head) > 0 && l.head[0].number < l.first {
		l.head = l.head[1:]
	}
}

// spilled says that everything up to number is on disk.
func (l *lane) spilled(number uint64) {
	l.disk = number
	if in := l.inMemory(); number >= in {
		l.mem.pop(int(number + 1 - in))
	}
}

// owed counts the readings that wait.
func (l *lane) owed() int {
	n := l.mem.len()
	if l.owesDisk() {
		n += int(min(l.disk+1, l.inMemory()) - l.first)
	}
	return n
}

// owesDisk says that readings on disk are still waiting.
func (l *lane) owesDisk() bool { return l.first <= l.disk }

// cursor is what the file should say about first.
func (l *lane) cursor() uint64 { return min(l.first, l.disk+1) }

// dirty says that the file knows less about first than there is to know.
func (l *lane) dirty() bool { return l.disk > 0 && l.cursor() > l.saved }

// A fifo is a slice that is popped at the front without growing for ever.
type fifo struct {
	buf  []Item
	head int
}

func (f *fifo) len() int      { return len(f.buf) - f.head }
func (f *fifo) items() []Item { return f.buf[f.head:] }
func (f *fifo) push(it Item)  { f.buf = append(f.buf, it) }

func (f *fifo) pop(n int) {
	clear(f.buf[f.head : f.head+n]) // let go of the strings
	f.head += n
	if f.head == len(f.buf) || f.head >= 64 && f.head >= len(f.buf)/2 {
		rest := copy(f.buf, f.buf[f.head:])
		clear(f.buf[rest:])
		f.buf, f.head = f.buf[:rest], 0
	}
}
