package queue

import (
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Contents is what a file holds.
type Contents struct {
	Alarms   int   // readings and events of the alarm lane that wait
	Routine  int   // routine readings that wait
	Rejected int   // readings and events that were rejected
	Gaps     []Gap // declared and not delivered
	Damaged  int   // blocks that fail their checksums
	Bytes    int64 // of blocks
	File     int64 // bytes of the file

	ClientID string // whose readings these are; "" in a file of an older agent
}

// readAttempts bounds how often a file is read again because a running agent
// has committed meanwhile.
const readAttempts = 5

// Inspect reads a queue's file without locking it or changing it: also that of
// a running agent, which is as new as its last commit, and a copied one. It
// calls visit, which may be nil, for each item that waits, oldest first, alarms
// before routine readings, and then for each that was rejected (Item.IsRejected).
// Their times are as good as the file knows.
func Inspect(path string, visit func(Item) error) (c Contents, err error) {
	for range readAttempts {
		var items []Item
		c, items, err = inspectOnce(path)
		if errors.Is(err, errChanged) {
			continue
		}
		for _, it := range items {
			if err == nil && visit != nil {
				err = visit(it)
			}
		}
		return c, err
	}
	return c, err
}

// errChanged is what Inspect returns when even the last attempt was disturbed.
var errChanged = errors.New("the file changes faster than it can be read: try again")

// inspectOnce reads the file in one go. It returns errChanged if a commit came
// between: then what it has read may be of two different states.
func inspectOnce(path string) (c Contents, items []Item, err error) {
	file, err := os.Open(path)
	if err != nil {
		return c, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return c, nil, err
	}
	c.File = info.Size()
	p, err := pages.Open(file, info.Size())
	if err != nil {
		return c, nil, fmt.Errorf("%s: %w", path, err)
	}
	if !p.Has(string(bucketMeta)) {
		return c, nil, fmt.Errorf("%s: not made by holdfast", path)
	}
	s := snapshot{file: p}
	err = s.read(&c)
	if after, again := pages.Open(file, info.Size()); again == nil && after.TxID() != p.TxID() {
		return c, nil, errChanged
	}
	return c, s.items, err
}

// snapshot reads a file as of one commit. It is used by one goroutine.
type snapshot struct {
	file  *pages.File
	items []Item         // what waits, in the order of Inspect
	boots clock.Timeline // what the file knows of the time
}

// read fills in all that Contents counts and collects the items. Damaged blocks are
// counted and left out; an error is a damaged structure, and what could be read
// before it is there all the same.
func (s *snapshot) read(c *Contents) error {
	cursors, err := s.meta(c)
	for _, p := range laneOrder {
		before := len(s.items)
		from := cursors[p]
		visit := func(_, value []byte) (bool, error) {
			c.Bytes += int64(len(value))
			r, err := decode(value)
			if err != nil {
				c.Damaged++
				return true, nil
			}
			s.items = append(s.items, r.items[countBelow(r.items, from):]...)
			from = max(from, r.last()+1)
			return true, nil
		}
		err = errors.Join(err,
			s.file.Each(string(bucketLanes[p]), key(from), visit),
			s.file.Each(string(bucketTails[p]), nil, visit))
		if n := len(s.items) - before; p == sensors.Alarm {
			c.Alarms = n
		} else {
			c.Routine = n
		}
	}
	err = errors.Join(err, s.readRejects(c))
	for i := range s.items {
		s.items[i].At = s.boots.Resolve(s.items[i].At)
	}
	return err
}

// readRejects reads what was rejected.
func (s *snapshot) readRejects(c *Contents) error {
	return s.file.Each(string(bucketRejects), nil, func(key, value []byte) (bool, error) {
		c.Bytes += int64(len(value))
		it, err := decodeRejected(number(key), value)
		if err != nil {
			c.Damaged++
			return true, nil
		}
		it.rejected = true
		s.items = append(s.items, it)
		c.Rejected++
		return true, nil
	})
}

// meta reads the cursors, the gaps and what is known of the clock.
func (s *snapshot) meta(c *Contents) (cursors [2]uint64, err error) {
	err = s.file.Each(string(bucketMeta), nil, func(key, value []byte) (bool, error) {
		for p, name := range bucketLanes {
			if string(key) == string(name) {
				cursors[p] = cursorOf(value)
			}
		}
		if isGapsKey(key) {
			var list []Gap
			list, err = decodeGaps(value)
			c.Gaps = append(c.Gaps, list...)
		}
		if string(key) == string(keyOwner) {
			c.ClientID = decodeOwner(value)
		}
		if string(key) == string(keyClock) {
			s.boots = decodeClock(value)
		}
		return true, err
	})
	return cursors, err
}
