package pages

import (
	"bytes"
	"errors"
	"fmt"
)

// A page begins with a header:
//
//	id       8 bytes, number of the page
//	flags    2, type of the page
//	count    2, number of elements
//	overflow 4, number of pages after it that belong to it
const headerSize = 16

// The flags of a header, as bbolt writes them. An intact page has exactly one of them.
// Only branches and leaves are in a tree.
const (
	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10
)

// A header is the header of a page. Its fields are not checked.
type header struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint32
}

// parseHeader parses the header of a page. It panics if b has fewer than headerSize bytes.
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
// pos is relative to the start of the element.
//
// data is a buffer that is reused. Keys and values are slices of it, and are valid only
// until it is overwritten.
type node struct {
	data  []byte
	leaf  bool
	count int
}

const (
	elementSize = 16
	bucketEntry = 0x01 // flag of a leaf element: the value is a bucket
)

// An element has the positions of a key and a value. They are not checked, but cannot
// overflow an int64 when they are added, because the file has 32-bit numbers.
type element struct {
	flags        uint32
	start        int64 // of the key, from the start of the page
	ksize, vsize int64
}

// end is the offset in the page of the first byte after the value.
func (e element) end() int64 { return e.start + e.ksize + e.vsize }

// element parses element i of the table. The caller makes sure that i is below count and
// that data contains the whole table.
func (n node) element(i int) element {
	at := headerSize + i*elementSize
	b := n.data[at : at+elementSize]
	if n.leaf {
		return element{le.Uint32(b), int64(at) + int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:])),
			int64(le.Uint32(b[12:]))}
	}
	return element{0, int64(at) + int64(le.Uint32(b)), int64(le.Uint32(b[4:])), 0}
}

// parseNode checks that all elements are at the right offsets, that no key is empty (an
// assertion of bbolt's commit) and that the keys ascend. After that, key, child and pair
// cannot fail.
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

// check checks that an element begins at start, where the previous one ends, and ends
// within room, the size of the page with its overflow. Flags unknown to bbolt are an error.
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

// key returns the key of an element. Like child and pair it needs a node that parseNode has
// checked, and does not copy.
func (n node) key(i int) []byte {
	e := n.element(i)
	return n.data[e.start : e.start+e.ksize]
}

// child returns the number of the page below an element of a branch.
func (n node) child(i int) uint64 { return le.Uint64(n.data[headerSize+i*elementSize+8:]) }

// pair returns an element of a leaf. The capacity of the slices is their length, so an
// append to them cannot overwrite the page.
func (n node) pair(i int) (flags uint32, key, value []byte) {
	e := n.element(i)
	mid := e.start + e.ksize
	return e.flags, n.data[e.start:mid:mid], n.data[mid:e.end():e.end()]
}

// A bucket is the value of a leaf entry for a bucket: the number of the root page and a
// sequence, 8 bytes each. If the root page is 0 the bucket is inline, and its only leaf
// page follows.
type bucket struct {
	root   uint64
	inline node // if root is 0
}

const bucketSize = 16

// parseBucket parses the value of a bucket's entry, and checks an inline bucket completely.
// An inline page must have the number 0, because bbolt frees the page with its number when
// it rewrites the bucket. It must not contain a bucket, because bbolt does not search it
// for pages and would treat those of the inner bucket as free.
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

// short returns the first bytes of a key, for an error message.
func short(key []byte) []byte { return key[:min(len(key), 16)] }
