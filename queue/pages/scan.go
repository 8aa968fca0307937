package pages

import (
	"errors"
	"fmt"
	"io"
)

// Scan reads every page of a file, reachable or not and whatever state the
// metas are in, and visits each pair on anything that may be a leaf page, also
// those in inline buckets. Nothing is known about a pair but the page that it
// was on: it can be damaged, deleted, an old version, or no pair at all. What
// visit gets is good until it returns.
//
// Pages that cannot be read are skipped and counted. The error is that of
// reading if nothing could be read.
func Scan(r io.ReaderAt, size int64, visit func(page uint64, key, value []byte)) (skipped int, err error) {
	pageSize, err := metaPageSize(r, size)
	if err != nil {
		pageSize = likelyPageSize(r, size)
	}
	s := scanner{r: r, size: size, pageSize: pageSize, more: maxOverflow * size, visit: visit}
	read := 0
	err = nil
	for off := int64(0); off < size; off += pageSize {
		n, pageErr := s.page(off)
		if n == 0 && pageErr == io.EOF {
			break
		}
		if pageErr != nil && pageErr != io.EOF {
			skipped++
			err = fmt.Errorf("read at %d: %w", off, pageErr)
			continue
		}
		read++
	}
	if read > 0 {
		err = nil
	}
	return skipped, err
}

// maxOverflow bounds what is read in all beyond the first pages of leaves, in
// sizes of the file. In a sound file less than one would do.
const maxOverflow = 64

// A scanner is one call of Scan. It has one buffer, for the page at hand: memory does
// not grow with the file.
type scanner struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	more     int64 // bytes of overflow that may still be read
	buf      []byte
	visit    func(page uint64, key, value []byte)
}

// page scans the page at an offset. n is what could be read of it. The error is io.EOF
// if the file ends in the page; what there is of it is scanned.
func (s *scanner) page(off int64) (n int, err error) {
	b := s.buffer(min(s.pageSize, s.size-off))
	n, err = s.r.ReadAt(b, off)
	if n == len(b) {
		err = nil
	}
	id := uint64(off / s.pageSize)
	if err != nil && err != io.EOF || n < headerSize || !mayBeLeaf(b, id) {
		return n, err
	}
	// bbolt splits a page of more than four elements until it fits one page, so
	// that the table of a page with overflow is always in the first.
	leaf := leafOf(b[:n])
	if want := s.reach(leaf, off); want > int64(n) {
		leaf.data = s.overflow(n, want, off)
	}
	s.leaf(id, leaf, false)
	return n, nil
}

// mayBeLeaf lets a page pass that says that it is a leaf, in whatever place, and
// one in its place that does not say what it is.
func mayBeLeaf(b []byte, id uint64) bool {
	switch h := parseHeader(b); h.flags {
	case leafPage:
		return true
	case branchPage, metaPage, freelistPage:
		return false
	default:
		return h.id == id && id > 1
	}
}

// reach returns where the last of the elements ends that are in the file. What
// the header says of overflow may be damaged, and adds nothing to it.
func (s *scanner) reach(n node, off int64) (end int64) {
	for i := range n.count {
		if e := n.element(i); e.plausible(min(maxPage, s.size-off)) {
			end = max(end, e.end())
		}
	}
	return end
}

// plausible reports whether an element can be real: with a key, a value of a size that
// is read, and both within room, which counts from the start of the page.
func (e element) plausible(room int64) bool {
	return e.ksize > 0 && e.vsize <= MaxValue && e.end() <= room
}

// overflow reads on after the first n bytes of a page, up to want, or what can be
// read of that.
func (s *scanner) overflow(n int, want, off int64) []byte {
	if want-int64(n) > s.more {
		return s.buf[:n]
	}
	s.more -= want - int64(n)
	b := s.buffer(want)
	m, _ := s.r.ReadAt(b[n:], off+int64(n))
	return b[:n+m]
}

// leaf visits the elements that are where they can be. One that is damaged may
// overlap others, but all together are not larger than the page twice over.
func (s *scanner) leaf(id uint64, n node, inline bool) {
	room := int64(len(n.data))
	budget := 2 * room
	for i := range n.count {
		e := n.element(i)
		if !e.plausible(room) || e.end()-e.start > budget {
			continue
		}
		budget -= e.end() - e.start
		flags, key, value := n.pair(i)
		if inline || flags&bucketEntry == 0 || !s.bucket(id, value) {
			s.visit(id, key, value)
		}
	}
}

// bucket visits the pairs of an inline bucket, and reports whether the value is a
// bucket at all.
func (s *scanner) bucket(id uint64, value []byte) bool {
	if len(value) == bucketSize {
		return true // its pages are scanned anyhow
	}
	if len(value) < bucketSize+headerSize || le.Uint64(value) != 0 {
		return false
	}
	page := value[bucketSize:]
	if parseHeader(page).flags != leafPage {
		return false
	}
	s.leaf(id, leafOf(page), true)
	return true
}

// leafOf takes a page for a leaf, with as many elements as have room.
func leafOf(page []byte) node {
	return node{data: page, leaf: true, count: min(parseHeader(page).count, (len(page)-headerSize)/elementSize)}
}

// buffer returns n bytes, with what was in them before.
func (s *scanner) buffer(n int64) []byte {
	if n > int64(cap(s.buf)) {
		s.buf = append(make([]byte, 0, n), s.buf...)
	}
	s.buf = s.buf[:n]
	return s.buf
}

// likelyPageSize guesses the page size from the headers: each is at its number
// times the page size.
func likelyPageSize(r io.ReaderAt, size int64) int64 {
	const enough = 64
	votes := map[int64]int{}
	best := int64(4096)
	b := make([]byte, maxPageSize)
	for at := int64(0); at < size && votes[best] < enough; at += int64(len(b)) {
		n, err := r.ReadAt(b[:min(int64(len(b)), size-at)], at)
		for i := 0; i+headerSize <= n; i += minPageSize {
			ps := impliedPageSize(b[i:], at+int64(i))
			votes[ps]++
			if ps > 0 && votes[ps] > votes[best] {
				best = ps
			}
		}
		if n == 0 && errors.Is(err, io.EOF) {
			break
		}
	}
	return best
}

// impliedPageSize is the page size that the header at an offset implies, 0 if it
// is no header.
func impliedPageSize(b []byte, off int64) int64 {
	h := parseHeader(b)
	if h.id < 2 || h.id > uint64(off) || off%int64(h.id) != 0 {
		return 0
	}
	switch h.flags {
	case branchPage, leafPage, freelistPage:
	default:
		return 0
	}
	ps := off / int64(h.id)
	if ps < minPageSize || ps > maxPageSize || ps&(ps-1) != 0 {
		return 0
	}
	return ps
}
