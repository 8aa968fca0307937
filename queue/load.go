package queue

import (
	"bytes"
	"fmt"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// fileState is the state that was loaded from a file. The lanes are as after a start: the
// tail is in memory, the blocks are on disk, nothing is issued.
type fileState struct {
	lanes   [2]lane
	gaps    []Gap
	rejects rejectsSize
	boots   clock.Timeline
	ends    [2]seqs // by lane: the last seqs in a file that was salvaged
	damaged damagedValues
	owner   string // the client ID, "" in a file of an older agent
}

// metaOf returns copies of all values in the meta bucket, by key.
func metaOf(p *pages.File) (map[string][]byte, error) {
	values := map[string][]byte{}
	err := p.Each(string(bucketMeta), nil, func(key, value []byte) (bool, error) {
		values[string(key)] = bytes.Clone(value)
		return true, nil
	})
	return values, err
}

// loadState loads the state of the file. Items with numbers below first, by lane, count as
// acknowledged even if the file's cursor is lower.
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

// loadLane loads one lane and returns its newest item. Damaged values are skipped and
// recorded in bad.
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
	if err == nil && r.last() > l.disk.lastBlock { // otherwise a block with the same readings was written later
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

// loadBlocks counts the readings in a lane's blocks, and returns the value of the newest
// block. It decodes only headers, except of the oldest block.
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

// valueOf returns a copy of one value of a bucket, nil if there is none.
func valueOf(p *pages.File, bucket, key []byte) (value []byte, err error) {
	err = p.Each(string(bucket), key, func(k, v []byte) (bool, error) {
		if bytes.Equal(k, key) {
			value = bytes.Clone(v)
		}
		return false, nil
	})
	return value, err
}

// countBelow returns how many items have a number below first. The numbers ascend.
func countBelow(items []Item, number uint64) (n int) {
	for n < len(items) && items[n].number < number {
		n++
	}
	return n
}

// read returns the readings of the oldest intact block with numbers from from to last, and
// how many damaged blocks it skipped. It returns no readings if there is no such block.
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
			return len(all.items) == 0, nil // a block whose numbers do not fit its key is skipped
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
