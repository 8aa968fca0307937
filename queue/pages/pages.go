// Package pages reads a bbolt file that bbolt must not, or cannot, open.
//
// bbolt maps its file into memory and trusts its content. A damaged page can make it
// panic in its own goroutine, where the caller cannot recover, or cause a SIGSEGV, an
// endless loop or a stack overflow. This package reads the same file with pread, in
// bounded memory and time, and checks everything that it reads:
//
//   - Verify reports whether bbolt can open the file, read it and commit to it
//   - Scan finds what is intact in a file that bbolt must not open
//   - Each reads a file that another process has locked
//
// The terms are those of bbolt. A file is a sequence of pages of equal size. Pages 0 and 1
// are metas, which are written alternately. The newer meta with a valid checksum has the
// numbers of the root page, of the high water mark (the number of pages ever used) and, if
// it was synced, of the freelist. A branch page has keys and the numbers of the pages below
// them; a leaf page has pairs of key and value. A page may overflow into the pages after
// it. A bucket is a tree of pages, and a leaf entry of its parent bucket has the number of
// its root page; a small bucket is stored inline, as a leaf page in that entry's value.
//
// bbolt uses the byte order of the host. All our targets are little endian, and so is
// this package; a file from a big endian host has no valid meta for it.
//
// A commit does not overwrite pages that the newest meta can reach, but the next commit
// may. So a reader of a running agent's file has to open the file again at the end: if TxID
// is the same, everything that was read is from one state.
package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Limits of memory and time. A page that exceeds one is treated as damaged.
const (
	MaxValue = 1 << 20              // bytes of one value
	maxPage  = 4*MaxValue + 256<<10 // bytes of a page with its overflow; bbolt puts at most four pairs into one
	maxHeld  = 2 * maxPage          // bytes of all pages on a path from the root to a leaf
	maxDepth = 64                   // pages on such a path, through all nested buckets
	maxPages = 1 << 30              // pages of a file: a pageSet for them takes 128 MiB
)

// ErrNotBolt means that neither meta is valid: bbolt did not make the file, or both metas
// are damaged. Scan may still find something in it.
var ErrNotBolt = errors.New("not a bbolt file: no valid meta page")

// A File is a bbolt file in the state of its newest meta. Its methods may be called from
// several goroutines at once.
type File struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	pages    uint64 // number of pages below the high water mark that are complete in the file
	meta     meta
}

// Open reads the two metas and uses the one that bbolt would use. size is the size of the
// file in bytes; nothing beyond it is read. The error is ErrNotBolt if no meta is valid, or
// another one if bbolt could not open the file for another reason.
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

// Each visits the pairs of a top-level bucket in the order of their keys, from a key on,
// until visit returns false or an error. It skips nested buckets. If the bucket does not
// exist it visits nothing. The slices are valid only until visit returns.
//
// Each checks only the pages that it reads. Without a successful Verify before, it may
// fail after it has visited some pairs.
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

// eachPair is Each for one leaf. It returns false after visit returned false.
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

// readFull fills b from an offset. An end of the file before that is an error.
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
