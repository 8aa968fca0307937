// Package pages reads a bbolt file that bbolt must not, or cannot, open.
//
// bbolt maps its file and believes what it finds there: a damaged page makes
// it panic in a goroutine of its own, where nothing can recover that, fault,
// loop, or overflow the stack. This package reads the same file by plain pread,
// in bounded memory and time, and believes nothing:
//
//   - Verify says whether bbolt can open the file, read it and commit to it
//   - Scan finds what is intact in a file that bbolt must not open
//   - Each reads a file whose lock another process holds
//
// The words are bbolt's. A file is a row of pages of one size. Pages 0 and 1
// are metas, written in turn; the newer one that passes its checksum names the
// root page, the high water mark (the number of pages ever used) and, if it was
// synced, the freelist. A branch page holds keys and the pages below them, a
// leaf page holds pairs. A page may overflow into those that follow it. A
// bucket is a tree of pages whose root is named by a leaf entry of the bucket
// around it; a small one lies inline, as a leaf page inside that entry's value.
//
// bbolt writes the byte order of the host. All our targets are little endian,
// and so is this package; a file from a big endian host is not taken for bbolt's.
//
// A commit overwrites no page that the newest meta can reach; the commit after
// it may. Who reads the file of a running agent therefore opens it again at the
// end: if TxID is still the same, all that was read belongs together.
package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// What a file may cost. A page that needs more is refused like a damaged one.
const (
	MaxValue = 1 << 20              // bytes of one value
	maxPage  = 4*MaxValue + 256<<10 // bytes of a page and its overflow; bbolt puts at most four pairs in one
	maxHeld  = 2 * maxPage          // bytes of all pages on the way down to one
	maxDepth = 64                   // pages on that way, through all buckets
	maxPages = 1 << 30              // pages of a file: the map of those in use is 128 MiB
)

// ErrNotBolt says that neither meta is valid: the file was never bbolt's, or
// both are damaged. Scan may find something in it all the same.
var ErrNotBolt = errors.New("not a bbolt file: no valid meta page")

// A File is a bbolt file as its newest meta has it. Its methods do not depend
// on one another and may be called from any goroutine.
type File struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	pages    uint64 // below the high water mark and whole in the file
	meta     meta
}

// Open reads the two metas and takes the one that bbolt would take. The error
// is ErrNotBolt if there is none; another one says what else keeps bbolt out.
// The size is that of the file; nothing beyond it is read.
func Open(r io.ReaderAt, size int64) (*File, error) {
	pageSize, err := metaPageSize(r, size)
	if err != nil {
		return nil, err
	}
	if size < 2*pageSize {
		return nil, fmt.Errorf("file is cut short: %d bytes with pages of %d", size, pageSize)
	}
	m, err := newestMeta(r, size, pageSize)
	if err != nil {
		return nil, err
	}
	return &File{r: r, size: size, pageSize: pageSize, pages: min(m.pages, uint64(size/pageSize)), meta: m}, nil
}

// TxID is the number of the last transaction that was committed.
func (f *File) TxID() uint64 { return f.meta.txid }

// Has reports whether there is a top-level bucket of that name. A damaged page
// on the way to it counts as none.
func (f *File) Has(bucket string) bool {
	_, found, err := f.find(bucket)
	return found && err == nil
}

// Each visits the pairs of a top-level bucket in the order of their keys, from
// a key on, until there is no more, and none if there is no such bucket.
// Buckets nested in it are left out. What visit gets is good until it returns.
//
// Each checks what it passes, but does not see the rest of the file: without a
// Verify before it, it may fail in the midst.
func (f *File) Each(bucket string, from []byte, visit func(key, value []byte) (more bool, err error)) error {
	b, found, err := f.find(bucket)
	if err != nil || !found {
		return err
	}
	leaf := func(n node, _ int) (bool, error) { return eachPair(n, from, visit) }
	if b.root == 0 {
		_, err = leaf(b.inline, 0)
		return err
	}
	w := walker{f: f}
	_, err = w.walk(&tree{from: from, leaf: leaf}, b.root, nil, nil, 0)
	return err
}

// eachPair is Each for one leaf. It returns false when visit wants no more.
func eachPair(n node, from []byte, visit func(key, value []byte) (bool, error)) (more bool, err error) {
	for i := range n.count {
		flags, key, value := n.pair(i)
		if flags&bucketEntry != 0 || bytes.Compare(key, from) < 0 {
			continue
		}
		if more, err := visit(key, value); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// find looks a top-level bucket up.
func (f *File) find(name string) (b bucket, found bool, err error) {
	leaf := func(n node, _ int) (more bool, err error) {
		for i := range n.count {
			flags, key, value := n.pair(i)
			if string(key) < name {
				continue
			}
			if string(key) == name && flags&bucketEntry != 0 {
				found = true
				b, err = parseBucket(value)
			}
			return false, err
		}
		return true, nil
	}
	w := walker{f: f}
	_, err = w.walk(&tree{from: []byte(name), leaf: leaf}, f.meta.root, nil, nil, 0)
	return b, found, err
}

// readFull fills b from an offset. All of it was said to be in the file.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(b), off, err)
}
