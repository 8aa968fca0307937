package queue

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	keepQuarantined = 30 * 24 * time.Hour // a file that was salvaged completely
	quarantineTime  = "20060102T150405.000"
)

// quarantine carries over what is intact in a damaged file into a new one, and
// moves the damaged one aside. Until that is done, the file stays where it is.
//
// It runs in this process: the file is read with pread by code that trusts
// nothing in it (package pages), so there is nothing that a child process would
// have to die of.
//
// What is lost is declared in the new file, by gaps and an event, before that
// takes the place of the damaged one: no restart and no power cut loses it.
// ends are the last readings in the new file.
func (st *store) quarantine(why error) (ends [2]seqs, err error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return ends, err
	}
	other := st.isOther(decodeOwner(s.owner)) // then disown tells of the file
	if other {
		st.acked = [2]seqs{}
	}
	missing := s.declare(st.acked)
	aside := fmt.Sprintf("%s.aside-%s-%s", st.path, st.now.UTC().Format(quarantineTime), s.verdict())
	err = st.replace(aside, func(f *file) error {
		if err := s.fill(f); err != nil || other {
			return err
		}
		return f.putEvent(st.newEvent(storageEvent{"quarantine", jsonObject("file", aside, "why", why.Error(), "salvaged", s.readings(),
			"complete", s.complete(), "missing", missing)}))
	})
	if err != nil {
		return ends, fmt.Errorf("salvage %s: %w", st.path, err)
	}
	st.log.Error("the queue was damaged: what is intact was carried over, the file is kept aside",
		"err", why, "aside", aside, "salvaged", s.readings(), "complete", s.complete(), "missing", missing)
	if other {
		return ends, nil
	}
	return s.ends, nil
}

// replace makes a new file and puts it in the place of the present one, which
// gets the name kept. A power cut between the two renames leaves the new one
// under a name that finish knows.
func (st *store) replace(kept string, fill func(*file) error) error {
	if err := st.make(st.path+".salvaged", fill); err != nil {
		return err
	}
	if err := moveFile(st.path, kept); err != nil {
		return err
	}
	return moveFile(st.path+".salvaged", st.path)
}

// A salvager is what a survey of a file has found: the intact blocks of both lanes,
// what is acknowledged, and the gaps.
//
// What can be reached from the file's root is what it holds. Only where the way
// there is damaged, pages that cannot be reached fill in what is missing: they
// may be lost, or hold old versions of what was evicted since.
type salvager struct {
	path       string
	reachedAll bool // everything could be reached
	cursors    [2]uint64
	spans      [2][]span
	gaps       []Gap
	clock      []byte
	skipped    int              // pages that could not be read
	owner      []byte           // value of keyOwner
	streams    table[streamKey] // that lie in spans
	ends       [2]seqs          // the last readings that were found, see missing

	rejected      map[uint64]uint32 // what was set aside: number and checksum
	rejectedWhole bool              // all of it could be reached
	unopenable    bool              // there is no way into the file
}

// A span is the numbers of a block, and what tells it from its old versions.
type span struct {
	first, last uint64
	count       int
	sum         uint32
	edges       []edge // of the streams in it; nil: not asked for
}

func (s span) same(o span) bool {
	return s.first == o.first && s.last == o.last && s.count == o.count && s.sum == o.sum
}

func spanOf(value []byte) (p sensors.Priority, s span, ok bool) {
	p, s, _, ok = spanAndRun(value)
	return p, s, ok
}

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

// rejectedIn tells an item that was set aside by its number and checksum.
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

// keepRejected keeps what was set aside, if its number is new, and reports whether
// this is such an item.
func (s *salvager) keepRejected(value []byte) bool {
	n, sum, ok := rejectedIn(value)
	if _, known := s.rejected[n]; ok && !known {
		s.rejected[n] = sum
	}
	return ok
}

// scanDamaged reads a file.
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
	var lost [2][]span
	err := s.scan(func(key, value []byte) {
		for p, name := range bucketLanes {
			if string(key) == string(name) {
				s.cursors[p] = max(s.cursors[p], cursorOf(value))
			}
		}
		if p, sp, ok := s.spanOf(value); ok && !s.overlaps(p, sp) {
			lost[p] = append(lost[p], sp)
		}
		if string(key) == string(keyGaps) && len(s.gaps) == 0 {
			s.gaps, _ = decodeGaps(value) // without, there are none to be had
		}
		s.keepMeta(key, value)
		if !s.rejectedWhole {
			s.keepRejected(value)
		}
	})
	for p := range s.spans {
		s.spans[p] = outermost(append(s.spans[p], lost[p]...), s.cursors[p])
	}
	return s, err
}

// openSized opens a file to be read page by page.
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
		s.reachedAll, s.unopenable = false, true
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
		if string(key) == string(keyGaps) {
			s.gaps, err = decodeGaps(value)
			s.reachedAll = s.reachedAll && err == nil
		}
		s.keepMeta(key, value)
		return true, nil
	}
	for _, name := range append(append(bucketLanes[:], bucketTails[:]...), bucketMeta) {
		s.reachedAll = f.Has(string(name)) && f.Each(string(name), nil, visit) == nil && s.reachedAll
	}
	s.rejectedWhole = true // an older file has none
	err = f.Each(string(bucketRejects), nil, func(_, value []byte) (bool, error) {
		s.rejectedWhole = s.keepRejected(value) && s.rejectedWhole
		return true, nil
	})
	s.rejectedWhole = s.rejectedWhole && err == nil
	s.reachedAll = s.reachedAll && s.rejectedWhole
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
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last))
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
	var failed error
	err := s.scan(func(_, value []byte) {
		if failed != nil || !s.take(&c, value) {
			return
		}
		if n++; n >= fillBatch {
			failed = flush()
		}
	})
	if err == nil && failed == nil {
		failed = flush()
	}
	return cmp.Or(err, failed)
}

// fillBatch is how many values go into a new file with one commit.
const fillBatch = 256

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
// newest that was found, nor anything that was set aside, as far as that can be
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
	return s.skipped == 0 && (s.rejectedWhole || s.unopenable && len(s.rejected) == 0)
}

func (s *salvager) verdict() string {
	if s.complete() {
		return "complete"
	}
	return "partial"
}

// quarantinedName is the end of the name of a file aside: when, and what came out.
var quarantinedName = regexp.MustCompile(`\.aside-(\d{8}T\d{6}\.\d{3})-(complete|partial)$`)

// An quarantinedFile is a file that is kept: a damaged one, or that of another client ID.
type quarantinedFile struct {
	path     string
	since    time.Time
	complete bool // everything in it was carried over
	other    bool // of another client ID
	size     int64
}

// rank says what goes first when there is too much.
func (a quarantinedFile) rank() int {
	switch {
	case a.complete:
		return 0
	case !a.other:
		return 1
	}
	return 2
}

// quarantined are the files aside, the first to go first: complete ones, then partial
// ones, then those of other client IDs; the oldest of each.
func (st *store) quarantined() (all []quarantinedFile) {
	names, _ := filepath.Glob(globQuote(st.path) + ".aside-*")
	for _, name := range names {
		m := quarantinedName.FindStringSubmatch(name)
		info, err := os.Lstat(name)
		if m == nil || err != nil || !info.Mode().IsRegular() {
			continue // not ours
		}
		since, _ := time.Parse(quarantineTime, m[1]) // the pattern is stricter
		all = append(all, quarantinedFile{path: name, since: since, complete: m[2] == "complete", size: info.Size()})
	}
	for _, o := range Others(st.path) {
		if info, err := os.Lstat(o.Path); err == nil && info.Mode().IsRegular() {
			all = append(all, quarantinedFile{path: o.Path, since: o.Since, other: true, size: info.Size()})
		}
	}
	slices.SortFunc(all, func(a, b quarantinedFile) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.since.Compare(b.since))
	})
	return all
}

// deleteOldQuarantined deletes files aside that are not wanted any more: those that were
// salvaged completely, thirty days later; and while they take more room together
// than a full queue, the first to go, but never the youngest.
func (st *store) deleteOldQuarantined() (made []storageEvent) {
	all := st.quarantined()
	total := int64(0)
	for _, a := range all {
		total += a.size
	}
	for i, a := range all {
		old := a.complete && st.now.Sub(a.since) > keepQuarantined
		if !old && (total <= st.maxQuarantined || i == len(all)-1) {
			continue
		}
		if err := os.Remove(a.path); err != nil {
			st.log.Warn("a file aside stays", "err", err)
			continue
		}
		total -= a.size
		st.log.Warn("a file aside was deleted", "file", a.path, "bytes", a.size)
		made = append(made, storageEvent{"quarantine", jsonObject("file", a.path, "deleted", true)})
	}
	return made
}

// globQuote quotes what a pattern would take for more than a letter.
func globQuote(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}
