package queue

import (
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Contents counts what a queue file contains.
type Contents struct {
	Alarms   int   // readings and events of the alarm lane that wait
	Routine  int   // routine readings that wait
	Rejected int   // readings and events that were rejected
	Gaps     []Gap // not delivered yet
	Damaged  int   // blocks that fail their checksums, and lists of gaps that cannot be read
	Bytes    int64 // of blocks and rejected items
	File     int64 // size of the file in bytes

	ClientID string // that the readings belong to; "" in a file of an older agent
}

// readAttempts limits how often a file is read again because a running agent has
// committed meanwhile.
const readAttempts = 5

// Inspect reads a queue file without locking or changing it. The file may be in use by a
// running agent; then it has the state of the last commit. Inspect calls visit, which may
// be nil, for each waiting item, oldest first and alarms before routine readings, then for
// each rejected item (Item.IsRejected). The times of the items are corrected with the
// timeline in the file. An error of visit is returned.
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

// errChanged means that the agent committed during each attempt to read the file.
var errChanged = errors.New("the file changes faster than it can be read: try again")

// inspectOnce reads the file once. It returns errChanged if there was a commit meanwhile:
// then it may have read a mixture of two states.
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

// A snapshot is the state of a file after one commit. It is used by one goroutine.
type snapshot struct {
	file  *pages.File
	items []Item         // waiting and rejected items, in the order of Inspect
	boots clock.Timeline // as stored in the file
}

// read fills in the Contents and collects the items. It counts damaged blocks and skips
// them. An error means that the structure is damaged; what was read before is kept.
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

// readRejects counts and collects the rejected items.
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

// meta reads the cursors, the gaps, the client ID and the timeline. It counts damaged gaps
// and skips them.
func (s *snapshot) meta(c *Contents) (cursors [2]uint64, err error) {
	err = s.file.Each(string(bucketMeta), nil, func(key, value []byte) (bool, error) {
		for p, name := range bucketLanes {
			if string(key) == string(name) {
				cursors[p] = cursorOf(value)
			}
		}
		if isGapsKey(key) {
			list, err := decodeGaps(value)
			if err != nil {
				c.Damaged++
				return true, nil
			}
			c.Gaps = append(c.Gaps, list...)
		}
		if string(key) == string(keyOwner) {
			c.ClientID = decodeOwner(value)
		}
		if string(key) == string(keyClock) {
			s.boots = decodeClock(value)
		}
		return true, nil
	})
	return cursors, err
}
