package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/sensors"
)

// The file has a bucket for each lane, whose keys are the number of the last
// reading in the block, and a bucket for what is known about them.
var (
	bucketLanes = [...][]byte{sensors.Routine: []byte("routine"), sensors.Alarm: []byte("alarm")}
	bucketMeta  = []byte("meta")
)

// file is the part of the queue on disk. Its methods are for one writer and
// one reader at a time.
type file struct {
	db   *bbolt.DB
	size int64 // bytes of all blocks
	log  *slog.Logger
}

// change is what one commit does.
type change struct{ lanes [2]laneChange }

type laneChange struct {
	cursor uint64  // everything below is acknowledged; 0: no news
	disk   uint64  // the newest reading that is known to be on disk
	tried  uint64  // everything below is in this commit, or needs none
	blocks []block // oldest first
}

type block struct {
	last uint64
	data []byte
}

func (c change) empty() bool {
	for _, l := range c.lanes {
		if l.cursor > 0 || len(l.blocks) > 0 {
			return false
		}
	}
	return true
}

// openDB opens the file with the options that suit a small card:
//
//   - a free list that is not synced: after a large backlog it would be
//     rewritten with each commit, 300 kB instead of 16 kB
//   - pages of 4 KiB also where the kernel has 16 KiB, as on a Pi 5
func openDB(path string, readOnly bool) (*bbolt.DB, error) {
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        time.Second,
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		PageSize:       4096,
		ReadOnly:       readOnly,
		NoStatistics:   true,
	})
}

// openFile opens the file or makes it, durably.
func openFile(path string, log *slog.Logger) (*file, error) {
	db, err := openDB(path, false)
	if err != nil {
		return nil, err
	}
	f := &file{db: db, log: log}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range append(bucketLanes[:], bucketMeta) {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

// lanes returns the lanes as the file knows them.
func (f *file) lanes() (lanes [2]lane, err error) {
	err = f.db.View(func(tx *bbolt.Tx) error {
		for p, name := range bucketLanes {
			l := &lanes[p]
			l.saved = number(tx.Bucket(bucketMeta).Get(name))
			c := tx.Bucket(name).Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				l.disk = number(k)
				f.size += int64(len(v))
			}
			l.first = max(l.saved, 1)
			l.next = max(l.disk+1, l.first)
			l.tried = l.next
			if k, v := c.Seek(key(l.first)); k != nil {
				l.first = max(l.first, firstNumber(v))
			}
		}
		return nil
	})
	return lanes, err
}

// firstNumber is the number of a block's first reading, 0 if it is damaged.
func firstNumber(data []byte) uint64 {
	items, err := decode(data)
	if err != nil {
		return 0
	}
	return items[0].number
}

// read returns the readings of the oldest intact block, from a number on and
// not beyond last; none if there is no such block.
func (f *file) read(p sensors.Priority, from, last uint64) (items []Item, err error) {
	err = f.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLanes[p]).Cursor()
		for k, v := c.Seek(key(from)); k != nil && number(k) <= last; k, v = c.Next() {
			all, err := decode(v) // copies: v is the mapped file
			if err != nil {
				f.log.Error("block on disk skipped", "lane", p, "block", number(k), "err", err)
				continue
			}
			for len(all) > 0 && all[0].number < from {
				all = all[1:]
			}
			items = all
			return nil
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.db.Path(), err)
	}
	return items, nil
}

// write commits a change and keeps the blocks within max bytes. It returns the
// number of the last reading of each lane that had to go for that.
func (f *file) write(c change, max int64) (evicted [2]uint64, err error) {
	size := f.size
	err = f.db.Update(func(tx *bbolt.Tx) error {
		size = f.size
		for p, name := range bucketLanes {
			b := tx.Bucket(name)
			b.FillPercent = 0.95 // keys only ever grow
			freed, err := f.apply(tx, b, name, c.lanes[p])
			if err != nil {
				return err
			}
			size += freed
		}
		for _, p := range [...]sensors.Priority{sensors.Routine, sensors.Alarm} {
			freed, last, err := evict(tx.Bucket(bucketLanes[p]), size-max)
			if err != nil {
				return err
			}
			size -= freed
			evicted[p] = last
		}
		return nil
	})
	if err != nil {
		return evicted, fmt.Errorf("write %s: %w", f.db.Path(), err)
	}
	f.size = size
	return evicted, nil
}

// apply does one lane's part of a commit and returns how much larger it made
// the lane.
func (f *file) apply(tx *bbolt.Tx, b *bbolt.Bucket, name []byte, c laneChange) (grown int64, err error) {
	cur := b.Cursor()
	// A commit that returned an error may be on disk all the same. What it
	// left is written again now, and its size was never counted.
	for k, _ := cur.Last(); k != nil && number(k) > c.disk; k, _ = cur.Last() {
		if err := cur.Delete(); err != nil {
			return 0, err
		}
	}
	if c.cursor > 0 {
		for k, v := cur.First(); k != nil && number(k) < c.cursor; k, v = cur.First() {
			grown -= int64(len(v))
			if err := cur.Delete(); err != nil {
				return 0, err
			}
		}
		if err := tx.Bucket(bucketMeta).Put(name, key(c.cursor)); err != nil {
			return 0, err
		}
	}
	for _, bl := range c.blocks {
		grown += int64(len(bl.data))
		if err := b.Put(key(bl.last), bl.data); err != nil {
			return 0, err
		}
	}
	return grown, nil
}

// evict deletes the oldest blocks until at least want bytes are free, and
// returns how much that was and the number of the last reading that went.
func evict(b *bbolt.Bucket, want int64) (freed int64, last uint64, err error) {
	cur := b.Cursor()
	for k, v := cur.First(); k != nil && freed < want; k, v = cur.First() {
		freed += int64(len(v))
		last = number(k)
		if err := cur.Delete(); err != nil {
			return 0, 0, err
		}
	}
	return freed, last, nil
}

func (f *file) close() error { return f.db.Close() }

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func number(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// syncDir makes a folder's entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
