package queue

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// A change is what one commit does. It is made under Queue.mu and belongs to the
// writer after that: nothing in it is shared with the lanes.
type change struct {
	lanes      [2]laneChange
	gaps       []Gap  // nil: no news
	clock      []byte // what is known of the kernel's boots; nil: no news
	rejects    rejectsChange
	owner      []byte // as encodeOwner makes it; nil: the file has it
	evict      bool   // it may not all fit, or something may be too old
	max        int64  // bytes of blocks, and of what was rejected, if evict
	acksOnly   bool   // it makes room: more is to come
	reason     string // why readings are dropped, if evict
	purge      bool   // drop all that may be dropped, if evict
	dropBefore int64  // drop readings from before this time, in ms; 0: none is too old
}

// laneChange is a commit's part in one lane.
type laneChange struct {
	cursor    uint64  // everything below is acknowledged; 0: no news
	lastBlock uint64  // the newest reading that is known to be in blocks
	attempted uint64  // everything below is in this commit, or needs none
	next      uint64  // of the lane, when the change was made
	issued    uint64  // readings up to here were issued, and may not be evicted
	suspect   bool    // as in lane
	seqs      seqs    // a copy of the lane's, where something may be evicted
	blocks    []block // oldest first
	tail      []byte  // nil: no news; empty: none
	tailLast  uint64  // number of the last reading in it
}

// A block is a value in a lane's bucket.
type block struct {
	last uint64 // number of its last reading: the key
	data []byte // as encode makes it
}

func (c change) empty() bool {
	for _, l := range c.lanes {
		if l.cursor > 0 || len(l.blocks) > 0 || l.tail != nil {
			return false
		}
	}
	return c.gaps == nil && c.clock == nil && c.rejects.empty()
}

// outcome is what a commit did beside the change that it was given.
type outcome struct {
	lanes   [2]laneOutcome
	rejects rejectsOutcome
	written int64 // bytes
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
			if err := e.evict(c); err != nil {
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
// some may have been issued, and if the commit fails, and is on disk all the
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
