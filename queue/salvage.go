package queue

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
)

// A salvager is what reading a damaged file has found: the intact blocks of both
// lanes, what is acknowledged, and the gaps. It is used by one goroutine.
//
// What can be reached from the file's root is what it holds. Only where the way
// there is damaged, pages that cannot be reached fill in what is missing: they
// may be lost, or hold old versions of what was evicted since.
type salvager struct {
	path        string
	rootDamaged bool      // there is no way into the file: nothing could be reached
	reachedAll  bool      // everything could be reached
	skipped     int       // pages that could not be read
	cursors     [2]uint64 // by lane: what is older is acknowledged
	spans       [2][]span // by lane, in order; none lies within another
	gaps        []Gap     // those of the file, and after declare what damage has taken
	clock       []byte    // value of keyClock, nil if there is no good one
	owner       []byte    // value of keyOwner, nil if there is no good one

	streams table[streamKey] // that lie in spans
	ends    [2]seqs          // the last readings that were found, set by missing

	rejected        map[uint64]uint32 // what was rejected: number and checksum
	rejectsComplete bool              // all of it could be reached
}

// A span is the numbers of a block, and what tells it from its old versions.
type span struct {
	first, last uint64 // numbers of its first and its last reading
	count       int    // of readings, fewer than the numbers where it is thinned out
	sum         uint32 // the block's checksum
	edges       []edge // of the streams in it; nil: not asked for
}

// same reports whether two blocks are the same version of a block: an eviction may
// have written it anew with fewer readings.
func (s span) same(o span) bool {
	return s.first == o.first && s.last == o.last && s.count == o.count && s.sum == o.sum
}

// spanOf is the span of a value, not ok if it is no intact block of a lane.
func spanOf(value []byte) (p sensors.Priority, s span, ok bool) {
	p, s, _, ok = spanAndRun(value)
	return p, s, ok
}

// spanAndRun is spanOf with what the block holds.
func spanAndRun(value []byte) (p sensors.Priority, s span, r run, ok bool) {
	r, err := decode(value)
	if err != nil || r.rejected {
		return 0, s, r, false
	}
	s = span{first: r.items[0].number, last: r.last(), count: len(r.items), sum: binary.BigEndian.Uint32(value[1:])}
	return r.items[0].Priority, s, r, true
}

// spanOf is a span with its edges.
func (s *salvager) spanOf(value []byte) (p sensors.Priority, sp span, ok bool) {
	p, sp, r, ok := spanAndRun(value)
	if ok {
		sp.edges = s.edgesOf(r)
	}
	return p, sp, ok
}

// rejectedIn tells an item that was rejected by its number and checksum.
func rejectedIn(value []byte) (number uint64, sum uint32, ok bool) {
	if len(value) < 6 || value[5]&flagRejected == 0 { // the flags: most values are not worth a decoding
		return 0, 0, false
	}
	r, err := decode(value)
	if err != nil {
		return 0, 0, false
	}
	return r.last(), binary.BigEndian.Uint32(value[1:]), true
}

// keepRejected keeps what was rejected, if its number is new, and reports whether
// this is such an item.
func (s *salvager) keepRejected(value []byte) bool {
	n, sum, ok := rejectedIn(value)
	if _, known := s.rejected[n]; ok && !known {
		s.rejected[n] = sum
	}
	return ok
}

// scanDamaged finds what is intact in a file. It reads the file twice at most: along
// its structure, and page by page where that is damaged. The error is the disk's:
// damage is none.
func scanDamaged(path string) (*salvager, error) {
	s := &salvager{path: path, reachedAll: true, rejected: map[uint64]uint32{}}
	if err := s.readReachable(); err != nil {
		return nil, err
	}
	for p := range s.spans {
		s.spans[p] = outermost(s.spans[p], s.cursors[p])
	}
	if s.reachedAll {
		return s, nil
	}
	// Old versions of blocks lie in pages that are not in use. Where the tree was
	// read they would be wrong, so only what overlaps nothing is taken of them.
	var lost [2][]span
	found := map[string]bool{} // keys of gaps
	reached := len(s.gaps) > 0
	err := s.scan(func(key, value []byte) {
		for p, name := range bucketLanes {
			if string(key) == string(name) {
				s.cursors[p] = max(s.cursors[p], cursorOf(value))
			}
		}
		if p, sp, ok := s.spanOf(value); ok && !s.overlaps(p, sp) {
			lost[p] = append(lost[p], sp)
		}
		if isGapsKey(key) && !reached && !found[string(key)] {
			found[string(key)] = s.keepGaps(value)
		}
		s.keepMeta(key, value)
		if !s.rejectsComplete {
			s.keepRejected(value)
		}
	})
	for p := range s.spans {
		s.spans[p] = outermost(append(s.spans[p], lost[p]...), s.cursors[p])
	}
	return s, err
}

// keepGaps takes the gaps of a value, and reports false if it is damaged.
func (s *salvager) keepGaps(value []byte) bool {
	list, err := decodeGaps(value)
	if err == nil {
		s.gaps = append(s.gaps, list...)
	}
	return err == nil
}

// openSized opens a file to be read page by page, and says how large it is, in
// bytes.
func openSized(path string) (*os.File, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// readReachable takes what can be reached from the root.
func (s *salvager) readReachable() error {
	file, size, err := openSized(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	f, err := pages.Open(file, size)
	if err != nil {
		s.reachedAll, s.rootDamaged = false, true
		return nil
	}
	visit := func(key, value []byte) (bool, error) {
		for p, name := range bucketLanes {
			if string(key) == string(name) {
				s.cursors[p] = cursorOf(value)
			}
		}
		if p, sp, ok := s.spanOf(value); ok {
			s.spans[p] = append(s.spans[p], sp)
		}
		if isGapsKey(key) {
			s.reachedAll = s.keepGaps(value) && s.reachedAll
		}
		s.keepMeta(key, value)
		return true, nil
	}
	for _, name := range append(append(bucketLanes[:], bucketTails[:]...), bucketMeta) {
		s.reachedAll = f.Has(string(name)) && f.Each(string(name), nil, visit) == nil && s.reachedAll
	}
	s.rejectsComplete = true // an older file has none
	err = f.Each(string(bucketRejects), nil, func(_, value []byte) (bool, error) {
		s.rejectsComplete = s.keepRejected(value) && s.rejectsComplete
		return true, nil
	})
	s.rejectsComplete = s.rejectsComplete && err == nil
	s.reachedAll = s.reachedAll && s.rejectsComplete
	return nil
}

// keepMeta keeps what is known of the clock and of the owner, if this is it.
func (s *salvager) keepMeta(key, value []byte) {
	if string(key) == string(keyOwner) && s.owner == nil && decodeOwner(value) != "" {
		s.owner = slices.Clone(value)
	}
	if string(key) == string(keyClock) && s.clock == nil && decodeClock(value) != nil {
		s.clock = slices.Clone(value)
	}
}

// overlaps says that a number of the span is in one that is known.
func (s *salvager) overlaps(p sensors.Priority, sp span) bool {
	i := s.at(p, sp.first)
	return i < len(s.spans[p]) && s.spans[p][i].first <= sp.last
}

// wants says that the span is one of those that were found.
func (s *salvager) wants(p sensors.Priority, sp span) bool {
	i := s.at(p, sp.last)
	return i < len(s.spans[p]) && s.spans[p][i].same(sp)
}

// at is the place of the first span that ends at a number or later.
func (s *salvager) at(p sensors.Priority, number uint64) int {
	i, _ := slices.BinarySearchFunc(s.spans[p], number, func(sp span, n uint64) int { return cmp.Compare(sp.last, n) })
	return i
}

// scan visits every key and value in every page of the file that can be read, in use
// or not, in the order of the pages. The slices are good for the call alone.
func (s *salvager) scan(visit func(key, value []byte)) error {
	file, size, err := openSized(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	s.skipped, err = pages.Scan(file, size, func(_ uint64, key, value []byte) { visit(key, value) })
	return err
}

// outermost leaves the spans that end at the cursor or later and lie within no
// other, in order.
func outermost(spans []span, cursor uint64) (left []span) {
	sort.Slice(spans, func(i, j int) bool {
		a, b := &spans[i], &spans[j]
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last)) < 0
	})
	for _, s := range spans {
		if s.last >= cursor && (len(left) == 0 || s.last > left[len(left)-1].last) {
			left = append(left, s)
		}
	}
	return left
}

// fill puts what was found into a new file.
func (s *salvager) fill(f *file) error {
	var c change
	n := 0
	flush := func() error {
		for p := range c.lanes {
			c.lanes[p].cursor = s.cursors[p]
		}
		c.gaps, c.clock, c.owner = s.gaps, s.clock, s.owner
		_, err := f.write(c)
		c, n = change{}, 0
		return err
	}
	// A second pass over the pages instead of blocks kept in memory: a file of
	// 64 MiB is larger than what an agent may take on a Pi Zero.
	var failed error
	err := s.scan(func(_, value []byte) {
		if failed != nil || !s.take(&c, value) {
			return
		}
		if n++; n >= salvageBatch {
			failed = flush()
		}
	})
	if err == nil && failed == nil {
		failed = flush()
	}
	return cmp.Or(err, failed)
}

// salvageBatch is how many values go into a new file with one commit: 256 blocks of 64
// KiB are 16 MiB of memory at most.
const salvageBatch = 256

// take adds a value to a change, if it is one of those that were found.
func (s *salvager) take(c *change, value []byte) bool {
	if p, sp, ok := spanOf(value); ok && s.wants(p, sp) {
		c.lanes[p].blocks = append(c.lanes[p].blocks, block{last: sp.last, data: slices.Clone(value)})
		return true
	}
	n, sum, ok := rejectedIn(value)
	if known, wanted := s.rejected[n]; !ok || !wanted || known != sum {
		return false
	}
	c.rejects.puts = append(c.rejects.puts, block{last: n, data: slices.Clone(value)})
	return true
}

// readings counts what was found and is carried over, with what was rejected.
func (s *salvager) readings() (n int) {
	n = len(s.rejected)
	for _, spans := range s.spans {
		for _, sp := range spans {
			n += sp.count
		}
	}
	return n
}

// complete says that no number is missing between what was acknowledged and the
// newest that was found, nor anything that was rejected, as far as that can be
// known.
func (s *salvager) complete() bool {
	for p, spans := range s.spans {
		next := max(s.cursors[p], 1)
		for _, sp := range spans {
			if sp.first > next {
				return false
			}
			next = sp.last + 1
		}
	}
	return s.skipped == 0 && (s.rejectsComplete || s.rootDamaged && len(s.rejected) == 0)
}

// outcome is the last part of a quarantined file's name.
func (s *salvager) outcome() string {
	if s.complete() {
		return "complete"
	}
	return "partial"
}

// inMemory are the folders in which a file takes no disk, first choice first.
var inMemory = [...]string{"/dev/shm", "/run", os.TempDir()}

// salvageInMemory carries over what is intact in a damaged file whose disk cannot
// be written, into a file in memory that has no name. It is put in the place of
// the damaged one when the disk can be written again.
func (st *store) salvageInMemory(damage, why error) (f *file, ends [2]seqs, err error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return nil, ends, err
	}
	if st.isOther(decodeOwner(s.owner)) {
		return nil, ends, why // it is not sent
	}
	part, err := unnamedFile()
	if err != nil {
		return nil, ends, err
	}
	defer part.Close()
	f = &file{path: fmt.Sprint("/proc/self/fd/", part.Fd()), log: st.log}
	if err := f.open(); err != nil {
		return nil, ends, err
	}
	missing := s.declare(st.acked)
	event := st.newEvent(storageEvent{"storage", jsonObject("state", "read_only", "error", damage.Error(),
		"salvaged", s.readings(), "complete", s.complete(), "missing", missing)})
	err = errors.Join(f.prepare(), s.fill(f), f.putEvent(event), f.endWriting(why))
	f.path, f.salvagedFrom = st.path, damage
	if err != nil {
		return nil, ends, errors.Join(err, f.close())
	}
	st.log.Error("the queue is damaged and its disk cannot be written: what is intact is read from a copy in memory",
		"err", damage, "salvaged", s.readings(), "complete", s.complete(), "missing", missing)
	return f, s.ends, nil
}

// unnamedFile makes a file in memory.
func unnamedFile() (file *os.File, err error) {
	for _, dir := range inMemory {
		var failed error
		if file, failed = os.CreateTemp(dir, "holdfast-*"); failed == nil {
			return file, os.Remove(file.Name())
		}
		err = errors.Join(err, failed)
	}
	return nil, err
}
