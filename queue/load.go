package queue

import (
	"bytes"
	"fmt"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// fileState is what the file says about the lanes, the gaps and the clock. The lanes
// are as at a start: all that waits on disk, the tail in memory, nothing issued.
type fileState struct {
	lanes   [2]lane
	gaps    []Gap
	rejects rejectsSize
	boots   clock.Timeline
	ends    [2]seqs // the last readings in a file that was salvaged
	damaged damagedValues
	owner   string // the client ID, "" in a file of an older agent
}

// metaOf is what the file keeps besides the blocks, by key. The values are copies.
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
	err = f.view(func(p *pages.File) (err error) {
		k, err = f.stateIn(p, first)
		return err
	})
	return k, err
}

// stateIn is [file.loadState] within a transaction. It is not a closure there, because
// the compiler would copy that into each caller.
func (f *file) stateIn(p *pages.File, first [2]uint64) (k fileState, err error) {
	f.size, f.thinned = 0, 0
	meta, err := metaOf(p)
	if err != nil {
		return k, err
	}
	k.boots = decodeClock(meta[string(keyClock)])
	k.owner = decodeOwner(meta[string(keyOwner)])
	for n := range k.lanes {
		k.lanes[n].disk.savedFirst = cursorOf(meta[string(bucketLanes[n])])
		newest, err := f.loadLane(p, n, &k.lanes[n], first[n], &k.damaged)
		if err != nil {
			return k, err
		}
		k.boots.Observe(newest.At)
	}
	if k.gaps, err = gapsIn(meta); err != nil {
		f.log.Error("gaps on disk skipped", "err", err)
		k.damaged.gaps = true
	}
	k.rejects, err = sizeRejects(p)
	f.rejects = k.rejects
	return k, err
}

// loadLane fills in what the file knows of one lane, and returns its newest item.
// Values that are damaged count as nothing, and are noted in bad.
func (f *file) loadLane(p *pages.File, n int, l *lane, first uint64, bad *damagedValues) (newest Item, err error) {
	l.first = max(l.disk.savedFirst, first, 1)
	last, err := f.loadBlocks(p, n, l, bad)
	if err != nil {
		return newest, err
	}
	if r, err := decode(last); err == nil {
		newest = r.items[len(r.items)-1]
	}
	l.next = max(l.disk.lastBlock+1, l.first)
	tail, err := valueOf(p, bucketTails[n], keyTail)
	if err != nil {
		return newest, err
	}
	r, err := decode(tail)
	bad.tails[n] = tail != nil && err != nil
	if err == nil && r.last() > l.disk.lastBlock { // else the block that holds it was written later
		l.disk.lastTail, newest = r.last(), r.items[len(r.items)-1]
		l.next = l.disk.lastTail + 1
		for _, it := range r.items[countBelow(r.items, max(l.first, l.disk.lastBlock+1)):] {
			l.mem.push(it)
		}
	}
	l.first = min(l.first, l.next)
	l.attempted, l.issued = l.next, l.first-1
	l.skipHole()
	return newest, nil
}

// loadBlocks counts the readings in a lane's blocks, and returns the value of the
// newest one. Only headers are decoded, but for the oldest block.
func (f *file) loadBlocks(p *pages.File, n int, l *lane, bad *damagedValues) (last []byte, err error) {
	err = p.Each(string(bucketLanes[n]), nil, func(k, v []byte) (bool, error) {
		l.disk.lastBlock, last = number(k), append(last[:0], v...)
		f.size += int64(len(v))
		if l.disk.lastBlock < l.first {
			return true, nil
		}
		h, _, err := readHeader(v)
		if err != nil {
			bad.blocks[n] = append(bad.blocks[n], l.disk.lastBlock)
			return true, nil
		}
		first := l.disk.readings == 0
		l.disk.readings += h.count
		if h.thinned && n == int(sensors.Routine) {
			f.thinned = l.disk.lastBlock
		}
		if h.number < l.first || first { // part of it may be acknowledged
			if r, err := decode(v); err == nil {
				acked := countBelow(r.items, l.first)
				l.disk.readings -= acked
				l.disk.oldest = r.items[min(acked, len(r.items)-1)].At
			}
		}
		return true, nil
	})
	return last, err
}

// valueOf is a copy of one value of a bucket, nil if there is none.
func valueOf(p *pages.File, bucket, key []byte) (value []byte, err error) {
	err = p.Each(string(bucket), key, func(k, v []byte) (bool, error) {
		if bytes.Equal(k, key) {
			value = bytes.Clone(v)
		}
		return false, nil
	})
	return value, err
}

// countBelow counts the items at the front that have a number below one. The numbers
// ascend.
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
