package queue

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/queue/pages"
)

// bucketRejects is the bucket of rejected items. The key is the item's number among them,
// the value a block of this item alone.
var bucketRejects = []byte("aside")

// rejectCost is the space that an item takes in addition to its value: the key and the
// page element.
const rejectCost = 8 + 16 // bytes

// rejectsSize describes the content of the bucket.
type rejectsSize struct {
	count int    // items, with damaged ones
	size  int64  // bytes, with rejectCost for each item
	last  uint64 // number of the newest item
}

// rejectsChange is the part of a change about rejected items. Like laneChange it shares no
// memory with the backlog.
type rejectsChange struct {
	puts  []block  // by number
	acked []uint64 // numbers of acknowledged items, which are deleted
	last  uint64   // number of the newest item in memory
	full  bool     // the items may need more than limit: the oldest are dropped
	limit int64    // bytes, valid if full
}

// empty reports whether there is nothing to write and nothing to drop.
func (c rejectsChange) empty() bool { return len(c.puts) == 0 && len(c.acked) == 0 && !c.full }

// grown is the number of bytes that the change adds at most.
func (c rejectsChange) grown() (n int64) {
	for _, b := range c.puts {
		n += rejectCost + int64(len(b.data))
	}
	return n
}

// rejectsOutcome is what a commit did to the bucket.
type rejectsOutcome struct {
	size           rejectsSize // of the bucket after the commit
	droppedThrough uint64      // everything up to this number was dropped to make room; 0: nothing
	dropped        int         // items that were dropped to make room
	gaps           gaps        // of the dropped items that were not declared before
}

// encodeRejected makes the value of an item.
func encodeRejected(it Item) []byte {
	return encode(run{items: []Item{it}, rejected: true, declared: it.declared})
}

// decodeRejected returns the item in a value. It fails if the item has another number.
func decodeRejected(number uint64, value []byte) (it Item, err error) {
	r, err := decode(value)
	if err == nil && (!r.rejected || len(r.items) != 1 || r.last() != number) {
		err = errMalformed
	}
	if err != nil {
		return it, err
	}
	r.items[0].declared = r.declared
	return r.items[0], nil
}

// applyRejects applies a change to the bucket, whose size was stored.
func applyRejects(tx *bbolt.Tx, stored rejectsSize, c rejectsChange) (out rejectsOutcome, err error) {
	b := tx.Bucket(bucketRejects)
	b.FillPercent = 0.95 // keys only ever grow
	out.size = stored
	for _, n := range c.acked {
		if err := out.remove(b, key(n)); err != nil {
			return out, err
		}
	}
	for _, bl := range c.puts {
		if err := out.put(b, bl); err != nil {
			return out, err
		}
	}
	next := func() ([]byte, []byte) { return b.Cursor().Seek(key(out.droppedThrough + 1)) }
	for k, v := b.Cursor().First(); k != nil && c.full && out.size.size > c.limit; k, v = next() {
		if err := out.drop(b, k, v); err != nil {
			return out, err
		}
	}
	return out, nil
}

// put adds an item, or replaces the one with the same number.
func (out *rejectsOutcome) put(b *bbolt.Bucket, bl block) error {
	// The number may be there if an earlier commit returned an error but is on disk.
	if err := out.remove(b, key(bl.last)); err != nil {
		return err
	}
	out.size.count++
	out.size.size += rejectCost + int64(len(bl.data))
	out.size.last = max(out.size.last, bl.last)
	return b.Put(key(bl.last), bl.data)
}

// remove deletes an item if it exists.
func (out *rejectsOutcome) remove(b *bbolt.Bucket, key []byte) error {
	old := b.Get(key)
	if old == nil {
		return nil
	}
	out.size.count--
	out.size.size -= rejectCost + int64(len(old))
	return b.Delete(key)
}

// drop deletes the oldest item, with key k and value v, to make room.
func (out *rejectsOutcome) drop(b *bbolt.Bucket, k, v []byte) error {
	out.droppedThrough = number(k)
	if it, err := decodeRejected(out.droppedThrough, v); err == nil {
		for _, g := range lossOf(it) {
			out.gaps.add(g)
		}
	}
	out.dropped++
	return out.remove(b, slices.Clone(k))
}

// sizeRejects measures the bucket. It does not decode the items: a damaged one is noticed
// when it is read.
func sizeRejects(p *pages.File) (s rejectsSize, err error) {
	err = p.Each(string(bucketRejects), nil, func(k, v []byte) (bool, error) {
		s.count++
		s.size += rejectCost + int64(len(v))
		s.last = number(k)
		return true, nil
	})
	return s, err
}

// A rejectsRun is a part of the rejected items that was read from the file.
type rejectsRun struct {
	items []Item
	bad   map[uint64]error // damaged items, by number
	last  uint64           // the last number that was read; 0: none
}

// readRejects returns the oldest items with from <= number < before, at most max.
func (f *file) readRejects(from, before uint64, max int) (r rejectsRun, err error) {
	err = f.view(func(p *pages.File) error {
		r = rejectsRun{bad: map[uint64]error{}}
		return p.Each(string(bucketRejects), key(from), func(k, v []byte) (more bool, err error) {
			n := number(k)
			if n >= before || len(r.items) >= max {
				return false, nil
			}
			if n == 0 {
				return true, nil // not a key of holdfast
			}
			r.last = n
			it, err := decodeRejected(n, v) // copies: v is a buffer
			if err != nil {
				r.bad[n] = err
				return true, nil
			}
			r.items = append(r.items, it)
			return true, nil
		})
	})
	if err != nil {
		return rejectsRun{}, fmt.Errorf("read %s: %w", f.path, err)
	}
	return r, nil
}

// copyRejects copies all rejected items from a file that is not open for writing. It does
// not decode them.
func (f *file) copyRejects(path string) error {
	file, size, err := openSized(path)
	if err != nil {
		return err
	}
	defer file.Close()
	old, err := pages.Open(file, size)
	if err != nil {
		return err
	}
	var c change
	err = old.Each(string(bucketRejects), nil, func(key, value []byte) (bool, error) {
		c.rejects.puts = append(c.rejects.puts, block{last: number(key), data: slices.Clone(value)})
		if len(c.rejects.puts) < salvageBatch {
			return true, nil
		}
		_, err := f.write(c)
		c = change{}
		return true, err
	})
	if err != nil || c.empty() {
		return err
	}
	_, err = f.write(c)
	return err
}
