package pages

import (
	"bytes"
	"errors"
	"fmt"
)

// A walker walks the trees of a file, and checks each page that it reads.
type walker struct {
	f    *File
	used pageSet          // pages that were read, to find those used twice; nil: no such check
	bufs [maxDepth][]byte // one buffer for each depth
	held int64            // bytes of bufs
}

// A tree is the walk through one bucket.
type tree struct {
	from   []byte                                         // pages with only lower keys are skipped
	leaf   func(n node, depth int) (more bool, err error) // is called for each leaf, in order
	leaves int                                            // 1 + the depth of the leaves; 0: not known yet
}

// walk visits the leaves at and below a page. The first key of the page must be lo, and
// all keys must be below hi; nil means that there is no limit, as for a root.
//
// The check of bbolt itself allows a first key above the one in the branch. But when bbolt
// later commits a change of that page, it searches the branch for the first key, does not
// find it and adds it. The old entry stays and refers to a page that was freed. So here
// the two keys must be equal, as they are in each file that bbolt writes.
func (w *walker) walk(t *tree, id uint64, lo, hi []byte, depth int) (more bool, err error) {
	n, err := w.read(id, depth)
	if err == nil {
		err = n.fits(lo, hi)
	}
	if err == nil && n.leaf {
		err = t.level(depth)
	}
	if err != nil {
		return false, fmt.Errorf("page %d: %w", id, err)
	}
	if n.leaf {
		return t.leaf(n, depth)
	}
	for i := range n.count {
		next := hi
		if i+1 < n.count {
			next = n.key(i + 1)
			if bytes.Compare(next, t.from) <= 0 {
				continue
			}
		}
		if more, err := w.walk(t, n.child(i), n.key(i), next, depth+1); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// fits checks a page against the branch above it. Only a root may be empty: when bbolt
// commits, it needs the first key of every other page.
func (n node) fits(lo, hi []byte) error {
	switch {
	case !n.leaf && n.count < 2:
		// With 0 pages bbolt panics; with 1 page an assertion fails when it rebalances.
		return fmt.Errorf("branch with %d pages below", n.count)
	case lo != nil && n.count == 0:
		return errors.New("empty leaf")
	case lo != nil && !bytes.Equal(n.key(0), lo):
		return fmt.Errorf("begins with key %x, the branch above says %x", short(n.key(0)), short(lo))
	case hi != nil && bytes.Compare(n.key(n.count-1), hi) >= 0:
		return fmt.Errorf("ends with key %x, the next page begins with %x", short(n.key(n.count-1)), short(hi))
	}
	return nil
}

// level checks that all leaves of a bucket have the same depth. bbolt merges neighbouring
// pages without a check that both are leaves or both are branches.
func (t *tree) level(depth int) error {
	if t.leaves == 0 {
		t.leaves = depth + 1
	}
	if t.leaves != depth+1 {
		return errors.New("leaf is not as deep as the one before it")
	}
	return nil
}

// read reads a branch or leaf with its overflow. The node is valid until the next read at
// the same depth.
func (w *walker) read(id uint64, depth int) (node, error) {
	if depth >= maxDepth {
		return node{}, fmt.Errorf("more than %d pages deep", maxDepth)
	}
	size := w.f.pageSize
	b, err := w.buffer(depth, size)
	if err != nil {
		return node{}, err
	}
	h, err := w.header(id, b)
	if err != nil {
		return node{}, err
	}
	if h.flags != leafPage && h.flags != branchPage {
		return node{}, fmt.Errorf("has flags %x, neither branch nor leaf", h.flags)
	}
	if h.overflow > 0 {
		if b, err = w.buffer(depth, size*(1+int64(h.overflow))); err != nil {
			return node{}, err
		}
		if err := readFull(w.f.r, b[size:], int64(id+1)*size); err != nil {
			return node{}, err
		}
	}
	return parseNode(b)
}

// header reads the first bytes of a page into b and checks its header: the page and its
// overflow must be below the high water mark and, with used, not used before.
func (w *walker) header(id uint64, b []byte) (header, error) {
	if id < 2 || id >= w.f.pages {
		return header{}, fmt.Errorf("is not among the %d pages", w.f.pages)
	}
	if err := readFull(w.f.r, b, int64(id)*w.f.pageSize); err != nil {
		return header{}, err
	}
	h := parseHeader(b)
	if h.id != id {
		return h, fmt.Errorf("says that it is page %d", h.id)
	}
	if uint64(h.overflow) >= w.f.pages-id {
		return h, fmt.Errorf("goes on for %d pages, of %d", h.overflow, w.f.pages)
	}
	if w.used == nil {
		return h, nil
	}
	for p := id; p <= id+uint64(h.overflow); p++ {
		if !w.used.add(p) {
			return h, fmt.Errorf("page %d is used twice, or used and free", p)
		}
	}
	return h, nil
}

// buffer returns the buffer of a depth, grown to n bytes, with its old content. It fails if
// the page would exceed maxPage, or all buffers together maxHeld.
func (w *walker) buffer(depth int, n int64) ([]byte, error) {
	have := int64(cap(w.bufs[depth]))
	if n > have {
		if n > maxPage || w.held+n-have > maxHeld {
			return nil, fmt.Errorf("is too large: %d bytes with its overflow", n)
		}
		w.held += n - have
		b := make([]byte, n)
		copy(b, w.bufs[depth])
		w.bufs[depth] = b
	}
	w.bufs[depth] = w.bufs[depth][:n]
	return w.bufs[depth], nil
}

// A pageSet is one bit for each page.
type pageSet []uint64

// newPageSet makes an empty set for pages with numbers below pages.
func newPageSet(pages uint64) pageSet { return make(pageSet, pages/64+1) }

// add adds a page, and reports whether it is new.
func (s pageSet) add(page uint64) bool {
	word, bit := page/64, uint64(1)<<(page%64)
	if s[word]&bit != 0 {
		return false
	}
	s[word] |= bit
	return true
}
