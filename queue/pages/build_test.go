package pages

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// A shape is one way in which a file can be made.
type shape struct {
	pageSize   int
	syncedFree bool
	commits    int
	fill       float64
}

func (s shape) String() string {
	return fmt.Sprintf("page=%d,synced=%v,commits=%d,fill=%v", s.pageSize, s.syncedFree, s.commits, s.fill)
}

var shapes = []shape{
	{4096, false, 20, 0.95},
	{4096, true, 20, 0.5},
	{1024, false, 25, 0.5},
	{1024, true, 25, 0.95},
	{16384, false, 5, 0.95},
}

func (s shape) open(path string) (*bbolt.DB, error) {
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        time.Second,
		NoFreelistSync: !s.syncedFree,
		FreelistType:   bbolt.FreelistMapType,
		PageSize:       s.pageSize,
		NoStatistics:   true,
		NoSync:         true,
		NoGrowSync:     true,
	})
}

// make makes a file by random commits, and calls each after every one of them.
func (s shape) make(t testing.TB, seed uint64, each func(data []byte, db *bbolt.DB)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt.db")
	db, err := s.open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range s.commits {
		if err := db.Update(func(tx *bbolt.Tx) error { return s.change(rnd, tx) }); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		each(data, db)
	}
}

// file returns what a file is after the last commit, and half of them.
func (s shape) file(t testing.TB, seed uint64) (data, older []byte) {
	n := 0
	s.make(t, seed, func(b []byte, _ *bbolt.DB) {
		if n++; n == s.commits/2 {
			older = b
		}
		data = b
	})
	return data, older
}

// change does one commit's work: a lane that grows at its end and shrinks at its
// start, as the queue's do, a bucket of random keys with large values, and
// buckets that are inline, nested and deleted again.
func (s shape) change(rnd *rand.Rand, tx *bbolt.Tx) error {
	for _, f := range []func(*rand.Rand, *bbolt.Tx) error{s.lane, s.wild, s.small, s.nested} {
		if err := f(rnd, tx); err != nil {
			return err
		}
	}
	return nil
}

func (s shape) lane(rnd *rand.Rand, tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte("lane"))
	if err != nil {
		return err
	}
	b.FillPercent = s.fill
	c := b.Cursor()
	for n := rnd.IntN(100); n > 50; n-- {
		if k, _ := c.First(); k != nil {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	for range rnd.IntN(60) {
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		if err := b.Put(binary.BigEndian.AppendUint64(nil, n), sealed(rnd, 20+rnd.IntN(200))); err != nil {
			return err
		}
	}
	return nil
}

func (s shape) wild(rnd *rand.Rand, tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte("wild"))
	if err != nil {
		return err
	}
	b.FillPercent = s.fill
	for range rnd.IntN(40) {
		key := fmt.Appendf(nil, "%0*d", 1+rnd.IntN(min(s.pageSize/8, 300)), rnd.IntN(200))
		size := rnd.IntN(min(s.pageSize/4, 400))
		if rnd.IntN(20) == 0 {
			size = rnd.IntN(3 * s.pageSize)
		}
		if err := b.Put(key, sealed(rnd, size)); err != nil {
			return err
		}
	}
	if rnd.IntN(3) > 0 {
		return nil
	}
	return thin(rnd, b, rnd.IntN(100))
}

// thin deletes some percent of the pairs of a bucket.
func thin(rnd *rand.Rand, b *bbolt.Bucket, percent int) error {
	var keys [][]byte
	b.ForEach(func(k, v []byte) error {
		if v != nil && rnd.IntN(100) < percent {
			keys = append(keys, slices.Clone(k))
		}
		return nil
	})
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (s shape) small(rnd *rand.Rand, tx *bbolt.Tx) error {
	name := fmt.Appendf(nil, "small%d", rnd.IntN(6))
	if rnd.IntN(5) == 0 && tx.Bucket(name) != nil {
		return tx.DeleteBucket(name)
	}
	b, err := tx.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	for i := range rnd.IntN(4) {
		if err := b.Put(fmt.Appendf(nil, "k%d", i), sealed(rnd, rnd.IntN(30))); err != nil {
			return err
		}
	}
	return nil
}

func (s shape) nested(rnd *rand.Rand, tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte("nest"))
	if err != nil {
		return err
	}
	for depth := range 3 {
		if b, err = b.CreateBucketIfNotExists([]byte{byte('a' + depth)}); err != nil {
			return err
		}
		for range rnd.IntN(10) {
			if err := b.Put(fmt.Appendf(nil, "%d", rnd.IntN(1000)), sealed(rnd, rnd.IntN(100))); err != nil {
				return err
			}
		}
	}
	return nil
}

// sealed is a random value that ends with its checksum.
func sealed(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n, n+8)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	sum := fnv.New64a()
	sum.Write(b)
	return sum.Sum(b)
}

// A pair is one of what bbolt and this package find.
type pair struct{ bucket, key, value string }

// boltPairs are those that bbolt's own cursors find.
func boltPairs(t testing.TB, db *bbolt.DB) (pairs []pair) {
	t.Helper()
	var walk func(path string, b *bbolt.Bucket) error
	walk = func(path string, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(path+"/"+string(k), b.Bucket(k))
			}
			pairs = append(pairs, pair{path, string(k), string(v)})
			return nil
		})
	}
	err := db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return walk(string(name), b) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

// verify opens and verifies a file.
func verify(data []byte) (pairs []pair, err error) {
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	err = f.Verify(func(bucket, key, value []byte) error {
		pairs = append(pairs, pair{string(bucket), string(key), string(value)})
		return nil
	})
	return pairs, err
}

// found is a pair that Scan found, the page in place of the bucket.
type found struct {
	page       uint64
	key, value string
}

func scan(t testing.TB, data []byte) (pairs []found) {
	t.Helper()
	skipped, err := Scan(bytes.NewReader(data), int64(len(data)), func(page uint64, key, value []byte) {
		pairs = append(pairs, found{page, string(key), string(value)})
	})
	if skipped != 0 || err != nil {
		t.Fatalf("%d pages skipped: %v", skipped, err)
	}
	return pairs
}

// seal gives a meta page the checksum that it should have.
func seal(page []byte) {
	if len(page) < metaSize {
		return
	}
	sum := fnv.New64a()
	sum.Write(page[headerSize : metaSize-8])
	binary.LittleEndian.PutUint64(page[metaSize-8:], sum.Sum64())
}
