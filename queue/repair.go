package queue

import (
	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/sensors"
)

// damagedValues are those of a sound file that fail their checksums: the disk
// has changed a bit where no structure is.
type damagedValues struct {
	blocks [2][]uint64 // keys, of what is not acknowledged
	tails  [2]bool
	gaps   bool
}

func (v damagedValues) count() (n int) {
	for p := range v.blocks {
		n += len(v.blocks[p])
		if v.tails[p] {
			n++
		}
	}
	if v.gaps {
		n++
	}
	return n
}

// repair takes damaged values out of a sound file, and declares in the same
// commit what was in them, as far as the others tell. Without that, a gap would
// be found only while both neighbours of a damaged block are read by one start.
// A disk that cannot be written leaves them: then they are noticed one by one.
func (st *store) repair(f *file, k fileState) (fileState, error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return k, err
	}
	missing := s.declare(st.acked)
	event := st.newEvent(storageEvent{"storage", jsonObject("state", "damaged", "blocks", k.damaged.count(), "missing", missing)})
	if err := f.remove(k, s.gaps, event); err != nil {
		st.log.Error("damaged blocks stay in the queue", "file", st.path, "blocks", k.damaged.count(), "err", err)
		if _, err := f.reopen(); err != nil {
			return k, err
		}
		return f.loadState(st.firstWaiting)
	}
	st.log.Error("blocks of the queue were damaged: the rest is used", "file", st.path, "blocks", k.damaged.count(), "missing", missing)
	ends := s.ends
	k, err = f.loadState(st.firstWaiting)
	k.ends = ends
	return k, err
}

// remove deletes what is damaged, stores the gaps and an event.
func (f *file) remove(k fileState, gaps []Gap, event Item) error {
	return f.update(func(tx *bbolt.Tx) error {
		for p, keys := range k.damaged.blocks {
			for _, n := range keys {
				if err := tx.Bucket(bucketLanes[p]).Delete(key(n)); err != nil {
					return err
				}
			}
			if k.damaged.tails[p] {
				if err := tx.Bucket(bucketTails[p]).Delete(keyTail); err != nil {
					return err
				}
			}
		}
		if err := tx.Bucket(bucketMeta).Put(keyGaps, encodeGaps(gaps)); err != nil {
			return err
		}
		_, err := applyLane(tx, int(sensors.Alarm), k.appendEvent(event))
		return err
	})
}

// appendEvent is the change that puts an event behind the alarms of a file
// that nobody uses yet, in one block with what is in the tail.
func (k *fileState) appendEvent(event Item) (c laneChange) {
	l := &k.lanes[sensors.Alarm]
	event.number = l.next
	items := append(l.mem.items(), event)
	c.blocks = []block{{last: event.number, data: encode(run{items: items})}}
	if l.lastTail > 0 {
		c.tail = []byte{}
	}
	return c
}

// putEvent puts an event into a file that is being made.
func (f *file) putEvent(event Item) error {
	k, err := f.loadState([2]uint64{})
	if err != nil {
		return err
	}
	c := change{}
	c.lanes[sensors.Alarm] = k.appendEvent(event)
	_, err = f.write(c)
	return err
}
