package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
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
	rejects rejectsSize

	reader        atomic.Pointer[os.File] // what is read; it stays when the db is closed
	writing       sync.Mutex              // held by a transaction
	db            *db                     // nil: the file cannot be written
	readOnlyCause error                   // why there is no db
	salvagedFrom  error                   // of the file at path, if this is what was salvaged of it in memory
}

// change is what one commit does.
type change struct {
	lanes      [2]laneChange
	gaps       []Gap  // nil: no news
	clock      []byte // what is known of the kernel's boots; nil: no news
	rejects    rejectsChange
	owner      []byte // as encodeOwner makes it; nil: the file has it
	evict      bool   // it may not all fit, or something may be too old
	max        int64  // bytes of blocks, and of what was set aside, if evict
	acksOnly   bool   // it makes room: more is to come
	reason     string
	dropBefore int64 // drop readings from before this time, in ms; 0: none is too old
}

type laneChange struct {
	cursor    uint64  // everything below is acknowledged; 0: no news
	lastBlock uint64  // the newest reading that is known to be in blocks
	attempted uint64  // everything below is in this commit, or needs none
	next      uint64  // of the lane, when the change was made
	issued    uint64  // up to here readings were handed out, and may not be evicted
	suspect   bool    // as in lane
	seqs      seqs    // a copy of the lane's, where something may be evicted
	blocks    []block // oldest first
	tail      []byte  // nil: no news; empty: none
	tailLast  uint64
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
	return c.gaps == nil && c.clock == nil && c.rejects.empty()
}

// outcome is what a commit did besides what it was told.
type outcome struct {
	lanes   [2]laneOutcome
	rejects rejectsOutcome
	written int64 // bytes
}

// openFile opens the file or makes it, durably.
func openFile(path string, log *slog.Logger) (*file, error) {
	f := &file{path: path, log: log}
	if err := f.open(); err != nil {
		return nil, err
	}
	if err := errors.Join(f.prepare(), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// prepare makes the buckets of a new file, and the one that an older file has
// not got.
func (f *file) prepare() error {
	ready := false
	err := f.view(func(p *pages.File) error {
		meta, err := metaOf(p)
		ready = meta[string(keyFormat)] != nil && p.Has(string(bucketRejects))
		return err
	})
	if ready || err != nil {
		return err
	}
	return f.update(func(tx *bbolt.Tx) error {
		for _, name := range append(append(bucketLanes[:], bucketTails[:]...), bucketMeta, bucketRejects) {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, format)
	})
}

// fileState is what the file says about the lanes, the gaps and the clock.
type fileState struct {
	lanes   [2]lane
	gaps    []Gap
	rejects rejectsSize
	boots   clock.Timeline
	ends    [2]seqs // the last readings in a file that was salvaged
	damaged damagedValues
	owner   string // the client ID, "" in a file of an older agent
}

// metaOf is what the file keeps besides the blocks, by key.
func metaOf(p *pages.File) (map[string][]byte, error) {
	values := map[string][]byte{}
	err := p.Each(string(bucketMeta), nil, func(key, value []byte) (bool, error) {
		values[string(key)] = bytes.Clone(value)
		return true, nil
	})
	return values, err
}

// loadState reads what the file knows, and counts what waits in it from the numbers
// in first on.
func (f *file) loadState(first [2]uint64) (k fileState, err error) {
	err = f.view(func(p *pages.File) error {
		k, f.size, f.thinned = fileState{}, 0, 0
		meta, err := metaOf(p)
		if err != nil {
			return err
		}
		k.boots = decodeClock(meta[string(keyClock)])
		k.owner = decodeOwner(meta[string(keyOwner)])
		for n := range k.lanes {
			k.lanes[n].savedFirst = cursorOf(meta[string(bucketLanes[n])])
			newest, err := f.loadLane(p, n, &k.lanes[n], first[n], &k.damaged)
			if err != nil {
				return err
			}
			k.boots.Observe(newest.At)
		}
		if k.gaps, err = decodeGaps(meta[string(keyGaps)]); err != nil {
			f.log.Error("gaps on disk skipped", "err", err)
			k.damaged.gaps = true
		}
		k.rejects, err = sizeRejects(p)
		f.rejects = k.rejects
		return err
	})
	return k, err
}

// loadLane fills in what the file knows of one lane, and returns its newest item.
// Blocks that are damaged count as nothing.
func (f *file) loadLane(p *pages.File, n int, l *lane, first uint64, bad *damagedValues) (newest Item, err error) {
	l.first = max(l.savedFirst, first, 1)
	var last []byte
	err = p.Each(string(bucketLanes[n]), nil, func(k, v []byte) (bool, error) {
		l.lastBlock, last = number(k), append(last[:0], v...)
		f.size += int64(len(v))
		h, _, err := readHeader(v)
		if err != nil && l.lastBlock >= l.first {
			bad.blocks[n] = append(bad.blocks[n], l.lastBlock)
		}
		if err != nil || l.lastBlock < l.first {
			return true, nil
		}
		l.blocks += h.count
		if h.thinned && n == int(sensors.Routine) {
			f.thinned = l.lastBlock
		}
		if h.number < l.first { // part of it is acknowledged
			if r, err := decode(v); err == nil {
				l.blocks -= countBelow(r.items, l.first)
			}
		}
		return true, nil
	})
	if err != nil {
		return newest, err
	}
	if r, err := decode(last); err == nil {
		newest = r.items[len(r.items)-1]
	}
	l.next = max(l.lastBlock+1, l.first)
	tail, err := valueOf(p, bucketTails[n], keyTail)
	if err != nil {
		return newest, err
	}
	r, err := decode(tail)
	bad.tails[n] = tail != nil && err != nil
	if err == nil && r.last() > l.lastBlock {
		l.lastTail, newest = r.last(), r.items[len(r.items)-1]
		l.next = l.lastTail + 1
		for _, it := range r.items[countBelow(r.items, max(l.first, l.lastBlock+1)):] {
			l.mem.push(it)
		}
	}
	l.first = min(max(l.first, 1), l.next)
	l.attempted, l.issued = l.next, l.first-1
	l.skipHole()
	return newest, nil
}

// valueOf is one value of a bucket, nil if there is none.
func valueOf(p *pages.File, bucket, key []byte) (value []byte, err error) {
	err = p.Each(string(bucket), key, func(k, v []byte) (bool, error) {
		if bytes.Equal(k, key) {
			value = bytes.Clone(v)
		}
		return false, nil
	})
	return value, err
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
func (f *file) read(lane sensors.Priority, from, last uint64) (r run, damaged int, err error) {
	var bad []uint64
	err = f.view(func(p *pages.File) error {
		r, bad = run{}, nil
		return p.Each(string(bucketLanes[lane]), key(from), func(k, v []byte) (more bool, err error) {
			if number(k) > last {
				return false, nil
			}
			all, err := decode(v) // copies: v is a buffer
			if err != nil {
				bad = append(bad, number(k))
				return true, nil
			}
			all.items = all.items[countBelow(all.items, from):]
			r = all
			return len(all.items) == 0, nil // else a block that is not what its key says
		})
	})
	if err != nil {
		return run{}, 0, fmt.Errorf("read %s: %w", f.path, err)
	}
	for _, n := range bad {
		f.log.Error("block on disk skipped", "lane", lane, "block", n)
	}
	if len(r.items) == 0 {
		r = run{}
	}
	return r, len(bad), nil
}

// write commits a change.
func (f *file) write(c change) (out outcome, err error) {
	var e evictor
	var pages int64
	err = f.update(func(tx *bbolt.Tx) error {
		if out.rejects, err = applyRejects(tx, f.rejects, c.rejects); err != nil {
			return err
		}
		e = evictor{tx: tx, size: f.size + out.rejects.size.size, thinned: f.thinned}
		for p := range c.lanes {
			grown, err := applyLane(tx, p, c.lanes[p])
			if err != nil {
				return err
			}
			e.size += grown
			e.issued[p], e.suspect[p], e.out[p].seqs = c.lanes[p].issued, c.lanes[p].suspect, c.lanes[p].seqs
		}
		if c.evict {
			if err := errors.Join(e.evictOlderThan(c.dropBefore), e.evictToSize(c.max)); err != nil {
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
			c.gaps = append(slices.Clip(c.gaps), out.rejects.gaps.values()...)
		}
		return putGaps(tx, c.gaps, e.out)
	})
	if err != nil {
		return out, fmt.Errorf("write %s: %w", f.path, err)
	}
	f.size, f.thinned, f.rejects = e.size-out.rejects.size.size, e.thinned, out.rejects.size
	return outcome{e.out, out.rejects, pages + pageSize}, nil // and the meta page
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

// renewAbove is a file that is made anew when it is empty.
const renewAbove = 8 << 20 // bytes

// renew makes the file anew if it has grown and holds no block: bbolt's files
// never shrink. What else it knows is carried over, and what was set aside.
func (f *file) renew(c change) error {
	info, err := os.Stat(f.path)
	// bbolt doubles its files: less than four times as much might not be enough for
	// what is carried over, and the file would be made anew again and again.
	if err != nil || info.Size() < max(renewAbove, 4*f.rejects.size) || f.size > 0 {
		return err
	}
	st := store{path: f.path, log: f.log}
	if err := f.endWriting(errReopened); err != nil {
		return err
	}
	err = st.make(f.path, func(fresh *file) error {
		if err := fresh.copyRejects(f.path); err != nil {
			return err
		}
		_, err := fresh.write(c)
		return err
	})
	return errors.Join(err, f.open()) // the new one, or still the old
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

// syncDir makes a folder's entries durable; tests put another in place.
var syncDir = func(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
