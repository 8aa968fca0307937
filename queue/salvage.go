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

// A salvager has read a damaged file and knows what is intact in it: the blocks of both
// lanes, the cursors, the gaps and the rejected items. It is used by one goroutine.
//
// The pages that can be reached from the root of the file are its current content. Pages
// that cannot be reached are used only if the structure is damaged, and only for numbers
// that are missing: such a page is either part of the content or an old version of a
// block that was evicted or replaced since.
type salvager struct {
	path        string
	rootDamaged bool      // no page can be reached
	reachedAll  bool      // every page of the content could be reached
	skipped     int       // pages that could not be read
	cursors     [2]uint64 // by lane: lower numbers are acknowledged
	spans       [2][]span // by lane, in order; none lies within another
	gaps        []Gap     // of the file; declare adds the readings lost by damage
	clock       []byte    // value of keyClock, nil if none is intact
	owner       []byte    // value of keyOwner, nil if none is intact

	streams table[streamKey] // all streams in spans
	ends    [2]seqs          // by lane: the last seqs that were found, set by missing

	rejected        map[uint64]uint32 // rejected items: number and checksum
	rejectsComplete bool              // all rejected items could be reached
}

// A span describes a block without its readings. count and sum distinguish it from older
// versions of the same block.
type span struct {
	first, last uint64 // numbers of its first and its last reading
	count       int    // of readings; a thinned block has fewer than numbers
	sum         uint32 // the block's checksum
	edges       []edge // by stream; nil: not needed
}

// same reports whether two spans are the same version of a block: eviction replaces a
// block by one with fewer readings.
func (s span) same(o span) bool {
	return s.first == o.first && s.last == o.last && s.count == o.count && s.sum == o.sum
}

// spanOf returns the span of a value without edges. ok is false if the value is not an
// intact block of a lane.
func spanOf(value []byte) (p sensors.Priority, s span, ok bool) {
	p, s, _, ok = spanAndRun(value)
	return p, s, ok
}

// spanAndRun is spanOf and returns the content of the block as well.
func spanAndRun(value []byte) (p sensors.Priority, s span, r run, ok bool) {
	r, err := decode(value)
	if err != nil || r.rejected {
		return 0, s, r, false
	}
	s = span{first: r.items[0].number, last: r.last(), count: len(r.items), sum: binary.BigEndian.Uint32(value[1:])}
	return r.items[0].Priority, s, r, true
}

// spanOf returns the span of a value with its edges.
func (s *salvager) spanOf(value []byte) (p sensors.Priority, sp span, ok bool) {
	p, sp, r, ok := spanAndRun(value)
	if ok {
		sp.edges = s.edgesOf(r)
	}
	return p, sp, ok
}

// rejectedIn returns the number and the checksum of a rejected item. ok is false if the
// value is something else.
func rejectedIn(value []byte) (number uint64, sum uint32, ok bool) {
	if len(value) < 6 || value[5]&flagRejected == 0 { // the flags: this avoids decoding most values
		return 0, 0, false
	}
	r, err := decode(value)
	if err != nil {
		return 0, 0, false
	}
	return r.last(), binary.BigEndian.Uint32(value[1:]), true
}

// keepRejected records a rejected item, unless its number is known already, and reports
// whether the value is one.
func (s *salvager) keepRejected(value []byte) bool {
	n, sum, ok := rejectedIn(value)
	if _, known := s.rejected[n]; ok && !known {
		s.rejected[n] = sum
	}
	return ok
}

// scanDamaged finds what is intact in a file. It reads the file along its structure and,
// if that is damaged, a second time page by page. Only the disk causes an error; damage
// does not.
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
	// Pages that are not in use contain old versions of blocks. A block that overlaps one
	// found in the tree is such an old version and is ignored.
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

// keepGaps records the gaps in a value, and reports false if the value is damaged.
func (s *salvager) keepGaps(value []byte) bool {
	list, err := decodeGaps(value)
	if err == nil {
		s.gaps = append(s.gaps, list...)
	}
	return err == nil
}

// openSized opens a file for reading and returns its size in bytes.
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

// readReachable records everything that can be reached from the root of the file.
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
	s.rejectsComplete = true // a file of an older version has no such bucket
	err = f.Each(string(bucketRejects), nil, func(_, value []byte) (bool, error) {
		s.rejectsComplete = s.keepRejected(value) && s.rejectsComplete
		return true, nil
	})
	s.rejectsComplete = s.rejectsComplete && err == nil
	s.reachedAll = s.reachedAll && s.rejectsComplete
	return nil
}

// keepMeta records the value if it is the first intact one of the clock or the owner.
func (s *salvager) keepMeta(key, value []byte) {
	if string(key) == string(keyOwner) && s.owner == nil && decodeOwner(value) != "" {
		s.owner = slices.Clone(value)
	}
	if string(key) == string(keyClock) && s.clock == nil && decodeClock(value) != nil {
		s.clock = slices.Clone(value)
	}
}

// overlaps reports whether any number of the span is in a known span.
func (s *salvager) overlaps(p sensors.Priority, sp span) bool {
	i := s.indexOf(p, sp.first)
	return i < len(s.spans[p]) && s.spans[p][i].first <= sp.last
}

// contains reports whether the span is one of the known spans, in the same version.
func (s *salvager) contains(p sensors.Priority, sp span) bool {
	i := s.indexOf(p, sp.last)
	return i < len(s.spans[p]) && s.spans[p][i].same(sp)
}

// indexOf returns the index of the first span that ends at a number or later.
func (s *salvager) indexOf(p sensors.Priority, number uint64) int {
	i, _ := slices.BinarySearchFunc(s.spans[p], number, func(sp span, n uint64) int { return cmp.Compare(sp.last, n) })
	return i
}

// scan visits every key and value in every readable page of the file, in use or not, in
// the order of the pages. The slices are valid only during the call.
func (s *salvager) scan(visit func(key, value []byte)) error {
	file, size, err := openSized(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	s.skipped, err = pages.Scan(file, size, func(_ uint64, key, value []byte) { visit(key, value) })
	return err
}

// outermost returns, in order, the spans that are not within another one and not
// acknowledged completely.
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

// fill writes everything that was found into a new file.
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
	// The blocks are read from the damaged file again. Keeping them in memory could need
	// 64 MiB, which is too much on a Pi Zero.
	var failed error
	err := s.scan(func(_, value []byte) {
		if failed != nil || !s.addTo(&c, value) {
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

// salvageBatch is how many values one commit writes into a new file: at most 256 blocks
// of 64 KiB, which are 16 MiB of memory.
const salvageBatch = 256

// addTo adds a value to a change if it is one of the blocks or rejected items that were
// found, and reports whether it did.
func (s *salvager) addTo(c *change, value []byte) bool {
	if p, sp, ok := spanOf(value); ok && s.contains(p, sp) {
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

// readings is the number of readings and events that were found, with the rejected ones.
func (s *salvager) readings() (n int) {
	n = len(s.rejected)
	for _, spans := range s.spans {
		for _, sp := range spans {
			n += sp.count
		}
	}
	return n
}

// complete reports whether nothing is lost, as far as that can be known: no number is
// missing between the cursor and the newest reading, and all rejected items were found.
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

// outcome returns the last part of the quarantined file's name, see quarantinedName.
func (s *salvager) outcome() string {
	if s.complete() {
		return "complete"
	}
	return "partial"
}

// inMemory are folders whose files are usually in memory (tmpfs), in order of preference.
var inMemory = [...]string{"/dev/shm", "/run", os.TempDir()}

// salvageInMemory copies what is intact in a damaged file into an unnamed file in memory,
// because the disk cannot be written (why). Once it can, restore replaces the damaged
// file by this one.
func (st *store) salvageInMemory(damage, why error) (f *file, ends [2]seqs, err error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return nil, ends, err
	}
	if st.isOther(decodeOwner(s.owner)) {
		return nil, ends, why // it may not be sent with our client ID
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

// unnamedFile creates a file in one of the folders of inMemory and deletes its name.
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
