package queue

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// A change is the content of one commit. It is planned under Queue.mu and then belongs to
// the goroutine of the writer, which needs no lock for it: neither the change nor the
// backlog modifies what they share. The file applies all of it or nothing.
type change struct {
	lanes   [2]laneChange // by sensors.Priority
	rejects rejectsChange
	gaps    []Gap  // all declared gaps; nil: unchanged; never nil if evict
	clock   []byte // as encodeClock returns it; nil: unchanged
	owner   []byte // as encodeOwner returns it; nil: the file has it

	acksOnly bool // it only frees space for a second change: its success does not mean that the disk works

	// The eviction. Without evict the other fields are zero, except dropBefore.
	evict      bool   // the limits may be exceeded
	purge      bool   // drop everything that was not issued
	max        int64  // limit of the bytes of blocks and rejected items; not used with purge
	reason     string // why readings are dropped, for the log
	dropBefore int64  // Unix time in ms, before which a reading is too old; 0: no limit
}

// laneChange is a commit's part in one lane. The numbers are as of the plan, and
// the lane may have moved on when the commit ends:
//
//	lastBlock < numbers in blocks < numbers in tail <= tailLast < next
type laneChange struct {
	cursor    uint64  // everything below is acknowledged; 0: unchanged
	lastBlock uint64  // the newest reading that is known to be in blocks
	attempted uint64  // everything below is in this commit or needs none; 0 for routine readings
	next      uint64  // of the lane, when the change was planned
	blocks    []block // oldest first
	tail      []byte  // nil: unchanged; empty: removed
	tailLast  uint64  // number of the last reading in tail, 0 if that is empty

	// For the eviction.
	issued  uint64 // readings up to here were issued, and may not be evicted
	suspect bool   // laneDisk.suspect
	seqs    seqs   // a copy of laneCache.seqs
}

// A block is a value in a lane's bucket.
type block struct {
	last uint64 // number of its last reading: the key
	data []byte // as encode makes it
}

// empty reports whether there is nothing to write. A change that may evict is never empty,
// because its gaps are set. An owner alone needs no commit: the next one writes it.
func (c change) empty() bool {
	for _, l := range c.lanes {
		if l.cursor > 0 || len(l.blocks) > 0 || l.tail != nil {
			return false
		}
	}
	return c.gaps == nil && c.clock == nil && c.rejects.empty()
}

// outcome is what a commit did in addition to its change. It is valid only if the commit
// succeeded.
type outcome struct {
	lanes   [2]laneOutcome // by sensors.Priority
	rejects rejectsOutcome
	written int64 // bytes, in whole pages
}

// write commits a change. After an error the change may be on disk nevertheless, because the
// sync may have failed after the last page was written. So the file is read again before
// the next commit, see reconcile.
func (f *file) write(c change) (out outcome, err error) {
	var e evictor
	var pages int64
	err = f.update(func(tx *bbolt.Tx) error {
		// Rejected items come first, because evict needs their size.
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
	// Set only now, so that they do not change if the transaction fails.
	f.size, f.thinned, f.rejects = e.size-out.rejects.size.size, e.thinned, out.rejects.size
	return outcome{e.out, out.rejects, pages + pageSize}, nil // and the meta page
}

// putGaps stores the gaps and those that this commit makes; nil: unchanged. It does not
// merge them, because some may have been issued. If the commit fails but is on disk
// nevertheless, gaps.merge adds the new gaps later, because they overlap none in the list.
func putGaps(tx *bbolt.Tx, list []Gap, more [2]laneOutcome) error {
	if list == nil {
		return nil
	}
	return storeGaps(tx.Bucket(bucketMeta), slices.Concat(list, more[0].gaps, more[1].gaps))
}

// applyLane applies the change of one lane and returns by how many bytes its blocks grew. It
// removes acknowledged blocks first, because in a full file that frees the pages for new
// ones.
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
