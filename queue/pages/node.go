package pages

import (
	"bytes"
	"errors"
	"fmt"
)

// A page begins with a header:
//
//	id       8 bytes, its own number
//	flags    2, what it is
//	count    2, of its elements
//	overflow 4, how many pages follow that belong to it
const headerSize = 16

// The flags of a header are bbolt's. A sound page has exactly one of them: what is
// below the root is a branch or a leaf.
const (
	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10
)

// A header is the start of a page as it was read. Nothing in it has been checked.
type header struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint32
}

// parseHeader needs headerSize bytes, and panics with fewer.
func parseHeader(b []byte) header {
	return header{id: le.Uint64(b), flags: le.Uint16(b[8:]), count: int(le.Uint16(b[10:])), overflow: le.Uint32(b[12:])}
}

// A node is a branch or leaf page with its overflow. After the header comes a
// table of elements, and after the table their keys and values without a gap
// and in the same order:
//
//	branch: pos 4 bytes, key size 4, page 8
//	leaf:   flags 4, pos 4, key size 4, value size 4
//
// pos counts from the start of the element.
//
// data is a buffer that is used again: keys and values point into it, and are good as
// long as it is.
type node struct {
	data  []byte
	leaf  bool
	count int
}

const (
	elementSize = 16
	bucketEntry = 0x01 // flag of a leaf element: the value is a bucket
)

// An element says where its key and value are. The numbers are as they were
// read, and fit 64 bits in any sum.
type element struct {
	flags        uint32
	start        int64 // of the key, from the start of the page
	ksize, vsize int64
}

// end is the first byte after the value, from the start of the page.
func (e element) end() int64 { return e.start + e.ksize + e.vsize }

// element reads one line of the table, which is in the page. The caller has to know
// that i is below count and that the table is in data.
func (n node) element(i int) element {
	at := headerSize + i*elementSize
	b := n.data[at : at+elementSize]
	if n.leaf {
		return element{le.Uint32(b), int64(at) + int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:])),
			int64(le.Uint32(b[12:]))}
	}
	return element{0, int64(at) + int64(le.Uint32(b)), int64(le.Uint32(b[4:])), 0}
}

// parseNode checks that all elements are where they should be, that none has an
// empty key (bbolt asserts it when it commits) and that the keys rise. After
// that, key, child and pair cannot fail.
func parseNode(data []byte) (node, error) {
	h := parseHeader(data)
	n := node{data: data, leaf: h.flags == leafPage, count: h.count}
	next := int64(headerSize + n.count*elementSize)
	if next > int64(len(data)) {
		return n, fmt.Errorf("%d elements do not fit", n.count)
	}
	var before []byte
	for i := range n.count {
		e := n.element(i)
		if err := e.check(next, int64(len(data))); err != nil {
			return n, fmt.Errorf("element %d: %w", i, err)
		}
		key := data[e.start : e.start+e.ksize]
		if bytes.Compare(before, key) >= 0 {
			return n, fmt.Errorf("element %d: key %x is not above %x", i, short(key), short(before))
		}
		before, next = key, e.end()
	}
	return n, nil
}

// check compares an element with where the one before it ends, and with the bytes of
// the page and its overflow. A flag that bbolt does not know is refused.
func (e element) check(start, room int64) error {
	switch {
	case e.start != start:
		return fmt.Errorf("is at %d, not at %d", e.start, start)
	case e.ksize == 0:
		return errors.New("has no key")
	case e.vsize > MaxValue:
		return fmt.Errorf("has a value of %d bytes, at most %d are read", e.vsize, MaxValue)
	case e.end() > room:
		return fmt.Errorf("ends at %d of %d", e.end(), room)
	case e.flags > bucketEntry:
		return fmt.Errorf("has flags %x", e.flags)
	}
	return nil
}

// key, child and pair need a node that parseNode has checked. None of them copies.
func (n node) key(i int) []byte {
	e := n.element(i)
	return n.data[e.start : e.start+e.ksize]
}

// child is the page below an element of a branch.
func (n node) child(i int) uint64 { return le.Uint64(n.data[headerSize+i*elementSize+8:]) }

// pair is an element of a leaf. The slices have no room behind them: an append cannot
// write into the page.
func (n node) pair(i int) (flags uint32, key, value []byte) {
	e := n.element(i)
	mid := e.start + e.ksize
	return e.flags, n.data[e.start:mid:mid], n.data[mid:e.end():e.end()]
}

// A bucket is the value of a bucket's entry: the number of its root page and a
// sequence, 8 bytes each. With root page 0 a leaf page follows, the bucket
// itself.
type bucket struct {
	root   uint64
	inline node // if root is 0
}

const bucketSize = 16

// parseBucket checks an inline bucket as bbolt will use it. Its page must have
// the number 0: bbolt frees the page of that number when it rewrites the bucket.
// And there is no bucket inside it: bbolt does not look for pages in there, and
// would take them to be free.
func parseBucket(value []byte) (bucket, error) {
	if len(value) < bucketSize {
		return bucket{}, fmt.Errorf("bucket of %d bytes", len(value))
	}
	b := bucket{root: le.Uint64(value)}
	page := value[bucketSize:]
	if b.root != 0 {
		if len(page) > 0 {
			return b, fmt.Errorf("bucket has root page %d and %d bytes inline", b.root, len(page))
		}
		return b, nil
	}
	if len(page) < headerSize {
		return b, fmt.Errorf("inline bucket of %d bytes", len(page))
	}
	if h := parseHeader(page); h.id != 0 || h.flags != leafPage || h.overflow != 0 {
		return b, fmt.Errorf("inline bucket has the header of page %d with flags %x and overflow %d", h.id, h.flags,
			h.overflow)
	}
	n, err := parseNode(page)
	if err != nil {
		return b, fmt.Errorf("inline bucket: %w", err)
	}
	for i := range n.count {
		if n.element(i).flags&bucketEntry != 0 {
			return b, errors.New("inline bucket has a bucket in it")
		}
	}
	b.inline = n
	return b, nil
}

// short cuts a key for an error.
func short(key []byte) []byte { return key[:min(len(key), 16)] }
