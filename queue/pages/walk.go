package pages

import (
	"bytes"
	"errors"
	"fmt"
)

// A walker goes down the trees of a file, and trusts no page on the way.
type walker struct {
	f    *File
	used pageSet // pages that were seen; nil: nobody asks
	bufs [maxDepth][]byte
	held int64 // bytes of bufs
}

// A tree is one bucket on the way.
type tree struct {
	from   []byte                                         // keys below it need not be visited
	leaf   func(n node, depth int) (more bool, err error) // for each leaf, in order
	leaves int                                            // depth of the leaves, once there was one
}

// walk visits the leaves at and below a page. Unless it is the root of its
// tree, the first key of a page is lo, and all are below hi, where that is known.
//
// bbolt's own check lets the first key be larger than what the branch above
// says. But when bbolt then commits a change of that page, it looks for the
// first key in the branch, does not find it, adds it, and leaves the entry of
// the page it has just freed. So here they must be equal; bbolt keeps them so.
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

// fits checks a page against the branch above it. Only a root may be empty:
// bbolt names a page by its first key when it commits.
func (n node) fits(lo, hi []byte) error {
	switch {
	case !n.leaf && n.count < 2:
		// at 0 bbolt faults, at 1 it asserts when it rebalances
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

// level checks that all leaves of a bucket are equally deep: bbolt merges
// neighbours without asking whether they are of one kind.
func (t *tree) level(depth int) error {
	if t.leaves == 0 {
		t.leaves = depth + 1
	}
	if t.leaves != depth+1 {
		return errors.New("leaf is not as deep as the one before it")
	}
	return nil
}

// read returns a branch or leaf with its overflow. It is good until another one
// is read at the same depth.
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

// header reads the first bytes of a page, checks that the page and its overflow
// are below the high water mark, and takes them.
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
		if !w.used.take(p) {
			return h, fmt.Errorf("page %d is used twice, or used and free", p)
		}
	}
	return h, nil
}

// buffer returns the bytes of a depth, n of them, with what was there before. It is an
// error if this page or all on the way down would need more memory than maxPage or
// maxHeld.
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

// newPageSet has room for the pages below a number, at one bit each, and is empty.
func newPageSet(pages uint64) pageSet { return make(pageSet, pages/64+1) }

// take adds a page, and reports whether it was not there yet.
func (s pageSet) take(page uint64) bool {
	word, bit := page/64, uint64(1)<<(page%64)
	if s[word]&bit != 0 {
		return false
	}
	s[word] |= bit
	return true
}
