package pages

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

var le = binary.LittleEndian

// A meta page is a page header and
//
//	magic     4 bytes
//	version   4
//	page size 4
//	flags     4, unused
//	root      8, the root page of the bucket of buckets; 8, its sequence
//	freelist  8, its page, or noFreelist
//	pages     8, the high water mark
//	txid      8
//	checksum  8, FNV-1a of the fields before it, without the header
//
// In the struct the magic, the version and the checksum were checked. checkedPageSize and
// check do that for the other fields.
type meta struct {
	pageSize uint32
	root     uint64
	freelist uint64
	pages    uint64
	txid     uint64
}

const (
	// What bbolt writes into each meta; it opens no file with another magic or version.
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = headerSize + 64
	metaRead    = 4096 // what bbolt reads to find a meta

	noFreelist = math.MaxUint64

	minPageSize = 512
	maxPageSize = 65536
)

// parseMeta parses a meta page. Like bbolt it ignores the page header. ok is false if the
// page is not a meta or is damaged; then m is not valid.
func parseMeta(page []byte) (m meta, ok bool) {
	if len(page) < metaSize {
		return m, false
	}
	b := page[headerSize:metaSize]
	sum := fnv.New64a()
	sum.Write(b[:56])
	if le.Uint32(b) != metaMagic || le.Uint32(b[4:]) != metaVersion || le.Uint64(b[56:]) != sum.Sum64() {
		return m, false
	}
	return meta{
		pageSize: le.Uint32(b[8:]),
		root:     le.Uint64(b[16:]),
		freelist: le.Uint64(b[32:]),
		pages:    le.Uint64(b[40:]),
		txid:     le.Uint64(b[48:]),
	}, true
}

// metaPageSize finds the page size as bbolt does: in the first meta or, if that is not
// valid, in the second one. The second meta is on page 1, so its offset is the unknown
// page size, and each possible one is tried.
func metaPageSize(r io.ReaderAt, size int64) (int64, error) {
	first, err := readMeta(r, size, 0)
	if err != nil {
		return 0, fmt.Errorf("first meta: %w", err)
	}
	m, ok := parseMeta(first)
	if ok && size >= metaRead {
		return m.checkedPageSize()
	}
	for pos := int64(1024); pos <= 1024<<14 && pos < size-1024; pos *= 2 {
		b, readErr := readMeta(r, size, pos)
		if readErr != nil {
			err = readErr
		} else if m, ok := parseMeta(b); ok {
			return m.checkedPageSize()
		}
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("second meta: %w", err)
	case ok:
		return 0, fmt.Errorf("file is cut short: %d bytes", size)
	}
	return 0, ErrNotBolt
}

// readMeta reads as many bytes of a meta as bbolt does, or fewer at the end of the file.
func readMeta(r io.ReaderAt, size, pos int64) ([]byte, error) {
	b := make([]byte, max(0, min(metaRead, size-pos)))
	return b, readFull(r, b, pos)
}

// checkedPageSize returns the page size if it is a power of two in the range that bbolt
// uses. Offsets are computed from it, so it must not be 0 or huge.
func (m meta) checkedPageSize() (int64, error) {
	n := m.pageSize
	if n < minPageSize || n > maxPageSize || n&(n-1) != 0 {
		return 0, fmt.Errorf("page size %d is not one that bbolt uses", n)
	}
	return int64(n), nil
}

// newestMeta returns the valid meta with the higher transaction number, or the first of
// two equal ones. A meta that cannot be read is an error even if the other one is valid,
// because bbolt would get a SIGBUS when it reads it.
func newestMeta(r io.ReaderAt, size, pageSize int64) (newest meta, err error) {
	found := false
	for page := range int64(2) {
		b, err := readMeta(r, size, page*pageSize)
		if err != nil {
			return meta{}, fmt.Errorf("meta page %d: %w", page, err)
		}
		if m, ok := parseMeta(b); ok && (!found || m.txid > newest.txid) {
			newest, found = m, true
		}
	}
	if !found {
		return meta{}, ErrNotBolt
	}
	return newest, nil
}

// check returns why bbolt could not work with the fields of the meta. The root and the
// freelist are checked when they are read.
func (m meta) check(pageSize, size int64) error {
	switch have := uint64(size / pageSize); {
	case int64(m.pageSize) != pageSize:
		return fmt.Errorf("meta %d: page size %d, the other meta has %d", m.txid, m.pageSize, pageSize)
	case m.pages > have:
		return fmt.Errorf("file is cut short: it has had %d pages, %d are left", m.pages, have)
	case m.pages > maxPages:
		return fmt.Errorf("file has %d pages, more than the limit of %d", m.pages, maxPages)
	case m.txid >= math.MaxInt64:
		return fmt.Errorf("transaction %d has no next one", m.txid)
	}
	return nil
}
