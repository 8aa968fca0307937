package pages

import (
	"errors"
	"fmt"
	"slices"
)

// Verify walks everything that the meta can reach. It returns an error for anything that
// could make bbolt panic, crash, loop or destroy intact data when it opens the file, reads
// it or commits to it. It does not detect an intact page of an older state, nor damage in
// keys and values that leaves the keys in order: visit has to check those.
//
// visit is called for each pair unless it is nil; an error that it returns ends Verify. The
// name of a nested bucket is its path, joined by "/". The slices are valid only until visit
// returns.
func (f *File) Verify(visit func(bucket, key, value []byte) error) error {
	if err := f.meta.check(f.pageSize, f.size); err != nil {
		return err
	}
	if visit == nil {
		visit = func(_, _, _ []byte) error { return nil }
	}
	v := verifier{walker: walker{f: f, used: newPageSet(f.pages)}, visit: visit}
	v.used.add(0)
	v.used.add(1)
	if err := v.freelist(); err != nil {
		return fmt.Errorf("freelist page %d: %w", f.meta.freelist, err)
	}
	return v.tree(nil, f.meta.root, 0)
}

// A verifier is one call of Verify. Its walker records each page that is used.
type verifier struct {
	walker
	visit func(bucket, key, value []byte) error
}

// tree verifies a bucket that has pages of its own. path is nil for the root bucket.
func (v *verifier) tree(path []byte, root uint64, depth int) error {
	t := tree{leaf: func(n node, depth int) (bool, error) {
		for i := range n.count {
			if err := v.pair(path, n, i, depth); err != nil {
				return false, err
			}
		}
		return true, nil
	}}
	_, err := v.walk(&t, root, nil, nil, depth)
	return err
}

// pair verifies element i of a leaf. path is that of its bucket, nil for the root bucket,
// in which all entries have to be buckets.
func (v *verifier) pair(path []byte, n node, i, depth int) error {
	flags, key, value := n.pair(i)
	if flags&bucketEntry != 0 {
		name := key
		if path != nil {
			name = slices.Concat(path, []byte("/"), key)
		}
		return v.bucket(name, value, depth)
	}
	if path == nil { // if this was a bucket with a damaged flag, bbolt would treat its pages as free
		return fmt.Errorf("%x is not a bucket, as all at the top are", short(key))
	}
	return v.visit(path, key, value)
}

// bucket verifies the bucket in an entry's value. The depth of its pages includes that of
// the entry, so maxDepth limits nested buckets as well.
func (v *verifier) bucket(path, value []byte, depth int) error {
	b, err := parseBucket(value)
	if err != nil {
		return fmt.Errorf("bucket %x: %w", short(path), err)
	}
	if b.root != 0 {
		return v.tree(path, b.root, depth+1)
	}
	for i := range b.inline.count {
		_, key, value := b.inline.pair(i)
		if err := v.visit(path, key, value); err != nil {
			return err
		}
	}
	return nil
}

// freelist marks the pages of the synced freelist and the free pages in it as used, so that
// the walk finds pages that are both free and in use. The elements are page numbers of 8
// bytes. If there are 65535 or more, the header has 65535 and the first element is the
// count.
func (v *verifier) freelist() error {
	id := v.f.meta.freelist
	if id == noFreelist {
		return nil
	}
	var buf [8192]byte
	h, err := v.header(id, buf[:headerSize])
	if err != nil {
		return err
	}
	if h.flags != freelistPage {
		return fmt.Errorf("has flags %x", h.flags)
	}
	at := int64(id)*v.f.pageSize + headerSize
	end := int64(id+1+uint64(h.overflow)) * v.f.pageSize
	count := uint64(h.count)
	if h.count == 0xFFFF {
		if err := readFull(v.f.r, buf[:8], at); err != nil {
			return err
		}
		count = le.Uint64(buf[:])
		at += 8
	}
	if count > uint64(end-at)/8 {
		return fmt.Errorf("%d elements do not fit", count)
	}
	return v.free(at, int64(count), buf[:])
}

// free marks the free pages. It reads the count page numbers at offset at in pieces of buf,
// because a freelist may be large.
func (v *verifier) free(at, count int64, buf []byte) error {
	for count > 0 {
		b := buf[:min(8*count, int64(len(buf)))]
		if err := readFull(v.f.r, b, at); err != nil {
			return err
		}
		at += int64(len(b))
		count -= int64(len(b)) / 8
		for ; len(b) > 0; b = b[8:] {
			if p := le.Uint64(b); p >= v.f.pages {
				return errors.New("a free page is beyond the high water mark")
			} else if !v.used.add(p) {
				return fmt.Errorf("page %d cannot be free", p)
			}
		}
	}
	return nil
}
