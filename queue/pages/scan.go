package pages

import (
	"errors"
	"fmt"
	"io"
)

// Scan reads every page of a file, whether it can be reached or not and even without a
// valid meta. It visits each pair on each page that may be a leaf, also in inline buckets.
// A pair may be damaged, deleted, an old version, or not a pair at all: the caller has to
// check it. The slices are valid only until visit returns.
//
// Pages that cannot be read are skipped and counted. It is an error only if no page could
// be read.
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

// maxOverflow limits how much overflow Scan reads in total, as a multiple of the file size.
// In an intact file it is less than 1.
const maxOverflow = 64

// A scanner is one call of Scan. It has one buffer, for the current page, so that the
// memory does not grow with the file.
type scanner struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	more     int64 // bytes of overflow that may still be read
	buf      []byte
	visit    func(page uint64, key, value []byte)
}

// page scans the page at an offset. n is the number of bytes that could be read. The error
// is io.EOF if the file ends within the page; the part before the end is scanned.
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
	// bbolt splits a node of more than four elements until each part fits one page. So a
	// page with overflow has few elements, and their table is within its first page.
	leaf := leafOf(b[:n])
	if want := s.reach(leaf, off); want > int64(n) {
		leaf.data = s.overflow(n, want, off)
	}
	s.leaf(id, leaf, false)
	return n, nil
}

// mayBeLeaf reports whether a page has the flag of a leaf, with any page number, or has
// unknown flags and the right page number.
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

// reach returns the offset in the page at which the last plausible element ends. It does
// not use the overflow in the header, which may be damaged.
func (s *scanner) reach(n node, off int64) (end int64) {
	for i := range n.count {
		if e := n.element(i); e.plausible(min(maxPage, s.size-off)) {
			end = max(end, e.end())
		}
	}
	return end
}

// plausible reports whether an element can be real: it has a key, its value is not above
// MaxValue, and both end within room bytes from the start of the page.
func (e element) plausible(room int64) bool {
	return e.ksize > 0 && e.vsize <= MaxValue && e.end() <= room
}

// overflow reads the bytes after the first n of a page, up to want or as far as possible.
// It returns the page.
func (s *scanner) overflow(n int, want, off int64) []byte {
	if want-int64(n) > s.more {
		return s.buf[:n]
	}
	s.more -= want - int64(n)
	b := s.buffer(want)
	m, _ := s.r.ReadAt(b[n:], off+int64(n))
	return b[:n+m]
}

// leaf visits the plausible elements. Damaged elements may overlap others, so the total
// size of what is visited is limited to twice the page.
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
		return true // Scan reads its pages anyway
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

// leafOf makes a leaf node of a page, with no more elements than fit into it.
func leafOf(page []byte) node {
	return node{data: page, leaf: true, count: min(parseHeader(page).count, (len(page)-headerSize)/elementSize)}
}

// buffer returns the buffer, grown to n bytes, with its old content.
func (s *scanner) buffer(n int64) []byte {
	if n > int64(cap(s.buf)) {
		s.buf = append(make([]byte, 0, n), s.buf...)
	}
	s.buf = s.buf[:n]
	return s.buf
}

// likelyPageSize guesses the page size from the page headers: the offset of a header is its
// page number times the page size.
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

// impliedPageSize returns the page size that a header at an offset implies, or 0 if it is
// not a valid header.
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
