package pages

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// seedFile is a small file, without what bbolt has laid out behind its pages.
func seedFile(t testing.TB, s shape, change func(tx *bbolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt.db")
	db, err := s.open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(&b); return err })
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inlineAndNested(tx *bbolt.Tx) error {
	for _, name := range []string{"lane", "meta"} {
		b, err := tx.CreateBucket([]byte(name))
		if err != nil {
			return err
		}
		if _, err := b.CreateBucket([]byte("inner")); err != nil && name == "meta" {
			return err
		}
		if err := b.Put([]byte("key"), []byte("value")); err != nil {
			return err
		}
	}
	return nil
}

func branchAndOverflow(tx *bbolt.Tx) error {
	b, err := tx.CreateBucket([]byte("lane"))
	if err != nil {
		return err
	}
	for i := range 12 {
		if err := b.Put([]byte{byte('a' + i), 'm'}, make([]byte, 200)); err != nil {
			return err
		}
	}
	return b.Put([]byte("z"), make([]byte, 2000))
}

func FuzzAnyBytes(f *testing.F) {
	for _, synced := range []bool{false, true} {
		s := shape{pageSize: 1024, syncedFree: synced}
		f.Add(seedFile(f, s, inlineAndNested), true)
		f.Add(seedFile(f, s, branchAndOverflow), true)
	}
	f.Add(seedFile(f, shape{pageSize: 4096}, inlineAndNested), false)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, sealMetas bool) {
		if sealMetas { // past the checksum, as only a liar gets
			data = slices.Clone(data)
			seal(data)
			if len(data) > 1024 {
				seal(data[1024:])
			}
		}
		bytesSeen := 0
		Scan(bytes.NewReader(data), int64(len(data)), func(_ uint64, key, value []byte) {
			bytesSeen += len(key) + len(value)
		})
		if limit := (maxOverflow + 2) * 4 * len(data); bytesSeen > limit {
			t.Errorf("Scan shows %d bytes of a file of %d", bytesSeen, len(data))
		}
		file, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		eachAgreesWithVerify(t, file)
	})
}

// eachAgreesWithVerify requires that a clean file is read without an error, and
// that both see the same.
func eachAgreesWithVerify(t *testing.T, file *File) {
	t.Helper()
	pairs, bytesSeen := map[string]int{}, 0
	err := file.Verify(func(bucket, key, value []byte) error {
		pairs[string(bucket)]++
		bytesSeen += len(key) + len(value)
		return nil
	})
	if int64(bytesSeen) > file.size {
		t.Errorf("Verify shows %d bytes of a file of %d", bytesSeen, file.size)
	}
	for _, name := range []string{"lane", "meta", ""} {
		n := 0
		eachErr := file.Each(name, nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
		if err == nil && (eachErr != nil || n != pairs[name]) {
			t.Errorf("Verify sees %d pairs of %q, Each %d, %v", pairs[name], name, n, eachErr)
		}
	}
}
