package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/holdfast-iot/holdfast/sensors"
)

// The file has a bucket for each lane, whose keys are the number of the last
// reading in a block; one for the tail of each lane; one for what is known
// about them; and one for what was set aside. All but the first two are small enough to lie in the root page,
// so that a commit that touches no block writes two pages.
var (
	bucketLanes = [...][]byte{sensors.Routine: []byte("routine"), sensors.Alarm: []byte("alarm")}
	bucketTails = [...][]byte{sensors.Routine: []byte("routine tail"), sensors.Alarm: []byte("alarm tail")}
	bucketMeta  = []byte("meta")

	keyTail   = []byte("tail")
	keyGaps   = []byte("gaps")
	keyClock  = []byte("clock")
	keyFormat = []byte("format")
	format    = []byte("holdfast queue 1")
)

// file is the part of the queue on disk. Its methods are for one writer and
// one reader at a time.
type file struct {
	path string
	log  *slog.Logger

	size    int64  // bytes of all blocks in the lanes
	thinned uint64 // the key up to which the routine lane is thinned out
	aside   asideSize

	mu   sync.RWMutex // guards what follows: held for writing while the file is opened again
	db   *bbolt.DB
	lock *os.File // the db's; it holds the lock on the file
	// poisoned says that a transaction could not be ended: the db is given up.
	poisoned bool
}

// change is what one commit does.
type change struct {
	lanes [2]laneChange
	gaps  []Gap  // nil: no news
	clock []byte // what is known of the kernel's boots; nil: no news
	aside asideChange
	owner []byte // as encodeOwner makes it; nil: the file has it
	evict bool   // it may not all fit, or something may be too old
	max   int64  // bytes of blocks, and of what was set aside, if evict
	why   string
	old   int64 // drop readings from before this time, in ms; 0: none is too old
}

type laneChange struct {
	cursor   uint64  // everything below is acknowledged; 0: no news
	disk     uint64  // the newest reading that is known to be in blocks
	tried    uint64  // everything below is in this commit, or needs none
	given    uint64  // up to here readings were handed out, and may not be evicted
	suspect  bool    // as in lane
	seqs     seqs    // a copy of the lane's, where something may be evicted
	blocks   []block // oldest first
	tail     []byte  // nil: no news; empty: none
	tailLast uint64
}

type block struct {
	last uint64
	data []byte
}

func (c change) empty() bool {
	for _, l := range c.lanes {
		if l.cursor > 0 || len(l.blocks) > 0 || l.tail != nil {
			return false
		}
	}
	return c.gaps == nil && c.clock == nil && c.aside.empty()
}

// outcome is what a commit did besides what it was told.
type outcome struct {
	lanes   [2]laneOutcome
	aside   asideOutcome
	written int64 // bytes
}

const pageSize = 4096 // bytes

// openDB opens the file with the options that suit a small card:
//
//   - a free list that is not synced: after a large backlog it would be
//     rewritten with each commit, 300 kB instead of 16 kB
//   - pages of 4 KiB also where the kernel has 16 KiB, as on a Pi 5
func openDB(path string) (db *bbolt.DB, lock *os.File, err error) {
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			PageSize:       pageSize,
			NoStatistics:   true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				lock, err = os.OpenFile(name, flag, mode)
				return lock, err
			},
		})
		return err
	})
	if err != nil && lock != nil {
		unlock(lock) // bbolt has, unless it panicked
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, nil, ErrLocked
	}
	return db, lock, err
}

// guard makes a fault in mapped memory, and a panic of bbolt's, an error of f: a
// card that cannot read a page any more must not end the agent.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", syscall.EIO, p)
		}
	}()
	return f()
}

// openFile opens the file or makes it, durably.
func openFile(path string, log *slog.Logger) (*file, error) {
	db, lock, err := openDB(path)
	if err != nil {
		return nil, err
	}
	f := &file{path: path, log: log, db: db, lock: lock}
	if err := f.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

// prepare makes the buckets of a new file, and the one that an older file has
// not got.
func (f *file) prepare() error {
	ready := false
	err := f.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		ready = b != nil && b.Get(keyFormat) != nil && tx.Bucket(bucketAside) != nil
		return nil
	})
	if ready || err != nil {
		return err
	}
	err = f.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range append(append(bucketLanes[:], bucketTails[:]...), bucketMeta, bucketAside) {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, format)
	})
	return errors.Join(err, syncDir(filepath.Dir(f.path)))
}

// known is what the file says about the lanes, the gaps and the clock.
type known struct {
	lanes [2]lane
	gaps  []Gap
	aside asideSize
	boots sensors.Timeline
	ends  [2]seqs // the last readings in a file that was salvaged
	bad   damagedValues
	owner string // the client ID, "" in a file of an older agent
}

// known reads what the file knows, and counts what waits in it from the numbers
// in first on.
func (f *file) known(first [2]uint64) (k known, err error) {
	f.size, f.thinned = 0, 0
	err = f.view(func(tx *bbolt.Tx) error {
		k.boots = decodeClock(tx.Bucket(bucketMeta).Get(keyClock))
		k.owner = decodeOwner(tx.Bucket(bucketMeta).Get(keyOwner))
		for p := range k.lanes {
			newest := f.lane(tx, p, &k.lanes[p], first[p], &k.bad)
			k.boots.Saw(newest.At)
		}
		var bad error
		if k.gaps, bad = decodeGaps(tx.Bucket(bucketMeta).Get(keyGaps)); bad != nil {
			f.log.Error("gaps on disk skipped", "err", bad)
			k.bad.gaps = true
		}
		k.aside = sizeAside(tx)
		f.aside = k.aside
		return nil
	})
	return k, err
}

// lane fills in what the file knows of one lane, and returns its newest item.
// Blocks that are damaged count as nothing.
func (f *file) lane(tx *bbolt.Tx, p int, l *lane, first uint64, bad *damagedValues) (newest Item) {
	l.saved = cursorOf(tx.Bucket(bucketMeta).Get(bucketLanes[p]))
	l.first = max(l.saved, first, 1)
	c := tx.Bucket(bucketLanes[p]).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		l.disk = number(k)
		f.size += int64(len(v))
		h, _, err := readHeader(v)
		if err != nil && l.disk >= l.first {
			bad.blocks[p] = append(bad.blocks[p], l.disk)
		}
		if err != nil || l.disk < l.first {
			continue
		}
		l.blocks += h.count
		if h.thinned && p == int(sensors.Routine) {
			f.thinned = l.disk
		}
		if h.number < l.first { // part of it is acknowledged
			if r, err := decode(v); err == nil {
				l.blocks -= countBelow(r.items, l.first)
			}
		}
	}
	if _, v := c.Last(); v != nil {
		if r, err := decode(v); err == nil {
			newest = r.items[len(r.items)-1]
		}
	}
	l.next = max(l.disk+1, l.first)
	tail := tx.Bucket(bucketTails[p]).Get(keyTail)
	r, err := decode(tail)
	bad.tails[p] = tail != nil && err != nil
	if err == nil && r.last() > l.disk {
		l.tail, newest = r.last(), r.items[len(r.items)-1]
		l.next = l.tail + 1
		for _, it := range r.items[countBelow(r.items, max(l.first, l.disk+1)):] {
			l.mem.push(it)
		}
	}
	l.first = min(max(l.first, 1), l.next)
	l.tried, l.given = l.next, l.first-1
	l.skipHole()
	return newest
}

func countBelow(items []Item, number uint64) (n int) {
	for n < len(items) && items[n].number < number {
		n++
	}
	return n
}

// read returns the readings of the oldest intact block, from a number on and
// not beyond last, and how many damaged blocks it passed over; no readings if
// there is no such block.
func (f *file) read(p sensors.Priority, from, last uint64) (r run, damaged int, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLanes[p]).Cursor()
		for k, v := c.Seek(key(from)); k != nil && number(k) <= last; k, v = c.Next() {
			all, err := decode(v) // copies: v is the mapped file
			if err != nil {
				f.log.Error("block on disk skipped", "lane", p, "block", number(k), "err", err)
				damaged++
				continue
			}
			if all.items = all.items[countBelow(all.items, from):]; len(all.items) == 0 {
				continue // a block that is not what its key says
			}
			r = all
			return nil
		}
		return nil
	})
	if err != nil {
		return run{}, 0, fmt.Errorf("read %s: %w", f.path, err)
	}
	return r, damaged, nil
}

// write commits a change.
func (f *file) write(c change) (out outcome, err error) {
	var e evictor
	var pages int64
	err = f.update(func(tx *bbolt.Tx) error {
		if out.aside, err = asideBucket(tx, f.aside, c.aside); err != nil {
			return err
		}
		e = evictor{tx: tx, size: f.size + out.aside.there.size, thinned: f.thinned}
		for p := range c.lanes {
			grown, err := applyLane(tx, p, c.lanes[p])
			if err != nil {
				return err
			}
			e.size += grown
			e.given[p], e.suspect[p], e.out[p].seqs = c.lanes[p].given, c.lanes[p].suspect, c.lanes[p].seqs
		}
		if c.evict {
			if err := errors.Join(e.older(c.old), e.until(c.max)); err != nil {
				return err
			}
		}
		tx.OnCommit(func() { s := tx.Stats(); pages = s.GetPageAlloc() })
		if c.owner != nil {
			if err := tx.Bucket(bucketMeta).Put(keyOwner, c.owner); err != nil {
				return err
			}
		}
		if c.clock != nil {
			if err := tx.Bucket(bucketMeta).Put(keyClock, c.clock); err != nil {
				return err
			}
		}
		if c.gaps != nil {
			c.gaps = append(slices.Clip(c.gaps), out.aside.gaps.plain()...)
		}
		return putGaps(tx, c.gaps, e.out)
	})
	if err != nil {
		return out, fmt.Errorf("write %s: %w", f.path, err)
	}
	f.size, f.thinned, f.aside = e.size-out.aside.there.size, e.thinned, out.aside.there
	return outcome{e.out, out.aside, pages + pageSize}, nil // and the meta page
}

func (f *file) view(do func(*bbolt.Tx) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return guard(func() error { return f.db.View(do) })
}

// update runs a transaction. One that fails before it is committed is not
// rolled back: without a synced free list bbolt then walks the whole file in a
// goroutine of its own, and where the file is damaged, that ends the process.
// The db is given up instead, and the file opened again.
func (f *file) update(do func(*bbolt.Tx) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.poisoned {
		return bolterrors.ErrDatabaseNotOpen
	}
	return guard(func() error {
		tx, err := f.db.Begin(true)
		if err != nil {
			return err
		}
		f.poisoned = true
		if err := do(tx); err != nil {
			return err
		}
		err = tx.Commit() // rolls back by itself
		f.poisoned = false
		return err
	})
}

// putGaps stores the gaps, with those that this commit makes. They do not join:
// some may have been handed out, and if the commit fails, and is on disk all the
// same, what it has made is new to the list.
func putGaps(tx *bbolt.Tx, list []Gap, more [2]laneOutcome) error {
	if list == nil {
		return nil
	}
	all := slices.Concat(list, more[0].gaps, more[1].gaps)
	if len(all) == 0 {
		return tx.Bucket(bucketMeta).Delete(keyGaps)
	}
	return tx.Bucket(bucketMeta).Put(keyGaps, encodeGaps(all))
}

// applyLane does one lane's part of a commit and returns how much larger it
// made the blocks.
func applyLane(tx *bbolt.Tx, p int, c laneChange) (grown int64, err error) {
	b := tx.Bucket(bucketLanes[p])
	b.FillPercent = 0.95 // keys only ever grow
	if c.cursor > 0 {
		cur := b.Cursor()
		for k, v := cur.First(); k != nil && number(k) < c.cursor; k, v = cur.First() {
			grown -= int64(len(v))
			if err := cur.Delete(); err != nil {
				return 0, err
			}
		}
		if err := tx.Bucket(bucketMeta).Put(bucketLanes[p], cursorValue(c.cursor)); err != nil {
			return 0, err
		}
	}
	for _, bl := range c.blocks {
		grown += int64(len(bl.data))
		if err := b.Put(key(bl.last), bl.data); err != nil {
			return 0, err
		}
	}
	switch tail := tx.Bucket(bucketTails[p]); {
	case c.tail == nil:
		return grown, nil
	case len(c.tail) == 0:
		return grown, tail.Delete(keyTail)
	default:
		return grown, tail.Put(keyTail, c.tail)
	}
}

// roomy is a file that is made anew when it is empty.
const roomy = 8 << 20 // bytes

// renew makes the file anew if it has grown and holds no block: bbolt's files
// never shrink. What else it knows is carried over, and what was set aside.
func (f *file) renew(c change) error {
	info, err := os.Stat(f.path)
	// bbolt doubles its files: less than four times as much might not be enough for
	// what is carried over, and the file would be made anew again and again.
	if err != nil || info.Size() < max(roomy, 4*f.aside.size) || f.size > 0 {
		return err
	}
	d := depot{path: f.path, log: f.log}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.closeLocked(); err != nil {
		return err
	}
	err = d.make(f.path, func(fresh *file) error {
		if err := fresh.takeAside(f.path); err != nil {
			return err
		}
		_, err := fresh.write(c)
		return err
	})
	return errors.Join(err, f.openLocked()) // the new one, or still the old
}

// reopen opens the file again after a commit that failed: it may be on disk all
// the same. It reports false if the file is not sound.
func (f *file) reopen() (sound bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.closeLocked(); err != nil {
		return false, err
	}
	d := depot{path: f.path, log: f.log}
	if found, _, err := d.inspect(); err != nil || found != soundFile {
		return false, err
	}
	return true, f.openLocked()
}

func (f *file) openLocked() error {
	db, lock, err := openDB(f.path)
	if err != nil {
		return fmt.Errorf("open %s again: %w", f.path, err)
	}
	f.db, f.lock, f.poisoned = db, lock, false
	return nil
}

// closeLocked closes the db, or lets go of one that cannot be closed: its
// mapping stays until the process ends.
func (f *file) closeLocked() error {
	if !f.poisoned {
		return f.db.Close()
	}
	return unlock(f.lock)
}

// unlock takes the lock off and closes the file. Closing is not enough: the
// mapping keeps the file open, and the lock with it.
func unlock(file *os.File) error {
	err := errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EBADF) {
		return nil // it was closed before
	}
	return err
}

func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closeLocked()
}

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func number(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// cursorValue is a cursor with its checksum: a wrong one could pass over
// everything that waits.
func cursorValue(n uint64) []byte {
	b := key(n)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// cursorOf is the cursor in a value, 0 if there is none or it is damaged.
func cursorOf(value []byte) uint64 {
	if len(value) != 12 || crc32.Checksum(value[:8], castagnoli) != binary.BigEndian.Uint32(value[8:]) {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// syncDir makes a folder's entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
