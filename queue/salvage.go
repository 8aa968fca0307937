package queue

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/queue/pages"
)

const keepAside = 30 * 24 * time.Hour // a file that was salvaged completely

// quarantine carries over what is intact in a damaged file into a new one, and
// moves the damaged one aside. Until that is done, the file stays where it is.
//
// It runs in this process: the file is read with pread by code that trusts
// nothing in it (package pages), so there is nothing that a child process would
// have to die of.
func (d *depot) quarantine(why error) (news, error) {
	s, err := survey(d.path)
	if err != nil {
		return news{}, err
	}
	if err := d.make(d.path+".salvaged", s.fill); err != nil {
		return news{}, fmt.Errorf("salvage %s: %w", d.path, err)
	}
	aside := fmt.Sprintf("%s.aside-%s-%s", d.path, d.now.UTC().Format("20060102T150405.000"), s.verdict())
	if err := moveFile(d.path, aside); err != nil {
		return news{}, err
	}
	if err := moveFile(d.path+".salvaged", d.path); err != nil {
		return news{}, err
	}
	d.log.Error("the queue was damaged: what is intact was carried over, the file is kept aside",
		"err", why, "aside", aside, "salvaged", s.readings(), "complete", s.complete())
	return news{"quarantine", jsonObject("file", aside, "why", why.Error(), "salvaged", s.readings(), "complete", s.complete())}, nil
}

// A find is what a survey of a file's pages has found: the intact blocks of both
// lanes, and the newest word on what is acknowledged. Pages that are no longer
// part of the file hold old versions; they fill in what is missing.
type find struct {
	path    string
	cursors [2]uint64
	spans   [2][]span
	gaps    []byte
	skipped int // pages that could not be read
}

// A span is the numbers of a block.
type span struct {
	first, last uint64
	count       int
}

// survey reads every page of a file.
func survey(path string) (*find, error) {
	s := &find{path: path}
	err := s.scan(func(key, value []byte) {
		for p, name := range bucketLanes {
			if string(key) == string(name) {
				s.cursors[p] = max(s.cursors[p], cursorOf(value))
			}
		}
		if string(key) == string(keyGaps) {
			if list, err := decodeGaps(value); err == nil && len(list) > 0 {
				s.gaps = slices.Clone(value)
			}
		}
		if r, err := decode(value); err == nil {
			p := r.items[0].Priority
			s.spans[p] = append(s.spans[p], span{r.items[0].number, r.last(), len(r.items)})
		}
	})
	for p := range s.spans {
		s.spans[p] = outermost(s.spans[p], s.cursors[p])
	}
	return s, err
}

func (s *find) scan(visit func(key, value []byte)) error {
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	s.skipped, err = pages.Scan(file, info.Size(), func(_ uint64, key, value []byte) { visit(key, value) })
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
func (s *find) fill(f *file) error {
	var batch []block
	var lanes [2][]block
	flush := func() error {
		var c change
		for p := range lanes {
			c.lanes[p] = laneChange{blocks: lanes[p], cursor: s.cursors[p]}
			lanes[p] = nil
		}
		batch = nil
		_, err := f.write(c)
		return err
	}
	var failed error
	err := s.scan(func(_, value []byte) {
		r, err := decode(value)
		if err != nil || failed != nil {
			return
		}
		p := r.items[0].Priority
		if _, wanted := slices.BinarySearchFunc(s.spans[p], r.last(), func(a span, last uint64) int { return cmp.Compare(a.last, last) }); !wanted {
			return
		}
		lanes[p] = append(lanes[p], block{last: r.last(), data: slices.Clone(value)})
		if batch = append(batch, block{}); len(batch) >= 256 {
			failed = flush()
		}
	})
	if err == nil && failed == nil {
		failed = flush()
	}
	if err != nil || failed != nil || s.gaps == nil {
		return cmp.Or(err, failed)
	}
	return f.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyGaps, s.gaps) })
}

func (s *find) readings() (n int) {
	for _, spans := range s.spans {
		for _, sp := range spans {
			n += sp.count
		}
	}
	return n
}

// complete says that no number is missing between what was acknowledged and the
// newest that was found.
func (s *find) complete() bool {
	for p, spans := range s.spans {
		next := max(s.cursors[p], 1)
		for _, sp := range spans {
			if sp.first > next {
				return false
			}
			next = sp.last + 1
		}
	}
	return s.skipped == 0
}

func (s *find) verdict() string {
	if s.complete() {
		return "complete"
	}
	return "partial"
}

// tidy deletes files aside that are not wanted any more: those that were
// salvaged completely, thirty days later; and while they take more room together
// than a full queue, the oldest, the completely salvaged first.
func (d *depot) tidy() (made []news) {
	names, _ := filepath.Glob(globQuote(d.path) + ".aside-*")
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(strings.Compare(verdictOf(a), verdictOf(b)), strings.Compare(a, b))
	})
	total := int64(0)
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			total += info.Size()
		}
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		old := verdictOf(name) == "complete" && d.now.Sub(info.ModTime()) > keepAside
		if !old && total <= d.most {
			continue
		}
		if err := os.Remove(name); err != nil {
			d.log.Warn("a file aside stays", "err", err)
			continue
		}
		total -= info.Size()
		d.log.Warn("a file aside was deleted", "file", name, "bytes", info.Size())
		made = append(made, news{"quarantine", jsonObject("file", name, "deleted", true)})
	}
	return made
}

// verdictOf is the last word of the name of a file aside.
func verdictOf(name string) string { return name[strings.LastIndex(name, "-")+1:] }

// globQuote quotes what a pattern would take for more than a letter.
func globQuote(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}
