package pages

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func TestIntactFileIsCleanAndReadsAsBboltReadsIt(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				commit := 0
				s.make(t, seed, func(data []byte, db *bbolt.DB) {
					commit++
					want := boltPairs(t, db)
					got, err := verify(data)
					if err != nil {
						t.Fatalf("seed %d, commit %d: %v", seed, commit, err)
					}
					if !slices.Equal(got, want) {
						t.Fatalf("seed %d, commit %d: %d pairs, bbolt has %d", seed, commit, len(got), len(want))
					}
					if missing := missing(scan(t, data), want); missing > 0 {
						t.Fatalf("seed %d, commit %d: Scan misses %d of %d pairs", seed, commit, missing, len(want))
					}
				})
			}
		})
	}
}

// missing counts the pairs that Scan should have found.
func missing(got []found, want []pair) (n int) {
	have := map[pair]bool{}
	for _, f := range got {
		have[pair{"", f.key, f.value}] = true
	}
	for _, p := range want {
		if !have[pair{"", p.key, p.value}] {
			n++
		}
	}
	return n
}

func TestEachBeginsWhereBboltSeeks(t *testing.T) {
	for _, s := range shapes {
		path := filepath.Join(t.TempDir(), "bolt.db")
		data, _ := s.file(t, 7)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := s.open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		f, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, bucket := range []string{"lane", "wild", "small1", "small2", "nest", "none"} {
			for _, from := range []string{"", "0", "000000000050", "5", "\x00\x00\x00\x00\x00\x00\x01\x11", "\xff",
				"k1"} {
				got, want := eachPairs(t, f, bucket, from), seekPairs(t, db, bucket, from)
				if !slices.Equal(got, want) {
					t.Errorf("%v: %s from %x: %d pairs, bbolt has %d", s, bucket, from, len(got), len(want))
				}
			}
			if f.Has(bucket) != hasBucket(t, db, bucket) {
				t.Errorf("%v: Has(%s) is %v", s, bucket, f.Has(bucket))
			}
		}
	}
}

func eachPairs(t *testing.T, f *File, bucket, from string) (pairs []pair) {
	t.Helper()
	err := f.Each(bucket, []byte(from), func(k, v []byte) (bool, error) {
		pairs = append(pairs, pair{bucket, string(k), string(v)})
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

func seekPairs(t *testing.T, db *bbolt.DB, bucket, from string) (pairs []pair) {
	t.Helper()
	db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Seek([]byte(from)); k != nil; k, v = c.Next() {
			if v != nil {
				pairs = append(pairs, pair{bucket, string(k), string(v)})
			}
		}
		return nil
	})
	return pairs
}

func hasBucket(t *testing.T, db *bbolt.DB, name string) (has bool) {
	t.Helper()
	db.View(func(tx *bbolt.Tx) error { has = tx.Bucket([]byte(name)) != nil; return nil })
	return has
}

func TestEachStopsWhenVisitReturnsFalse(t *testing.T) {
	data, _ := shapes[0].file(t, 1)
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	n, stop := 0, errors.New("stop")
	if err := f.Each("wild", nil, func(_, _ []byte) (bool, error) { n++; return n < 5, nil }); err != nil || n != 5 {
		t.Errorf("%d pairs, %v; want 5 and no error", n, err)
	}
	if err := f.Each("wild", nil, func(_, _ []byte) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of visit", err)
	}
	if err := f.Verify(func(_, _, _ []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of visit", err)
	}
}

func TestFileOfARunningAgentIsReadDespiteItsLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bolt.db")
	s := shapes[0]
	db, err := s.open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("lane"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	}); err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(r, info.Size())
	if err != nil || f.TxID() != 2 {
		t.Fatalf("transaction %d, %v; want 2", f.TxID(), err)
	}
	if got := eachPairs(t, f, "lane", ""); len(got) != 1 || got[0].value != "v" {
		t.Errorf("got %v", got)
	}
}

func TestForeignFileIsDistinguishedFromADamagedOne(t *testing.T) {
	data, _ := shapes[0].file(t, 1)
	noMetas := slices.Clone(data)
	clear(noMetas[:2*4096])
	for name, c := range map[string]struct {
		data    []byte
		strange bool
	}{
		"empty":       {nil, true},
		"text":        {[]byte(strings.Repeat("not a database\n", 1000)), true},
		"no metas":    {noMetas, true},
		"one page":    {data[:4096], false},
		"a few bytes": {data[:1000], false},
	} {
		_, err := Open(bytes.NewReader(c.data), int64(len(c.data)))
		if err == nil || errors.Is(err, ErrNotBolt) != c.strange {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A dyingCard fails to read some pages.
type dyingCard struct {
	data []byte
	bad  func(page int64) bool
}

var errIO = errors.New("input/output error")

func (d dyingCard) ReadAt(b []byte, off int64) (int, error) {
	for p := off / 4096; p <= (off+int64(len(b))-1)/4096; p++ {
		if d.bad(p) {
			return max(0, int(p*4096-off)), errIO
		}
	}
	return bytes.NewReader(d.data).ReadAt(b, off)
}

func TestScanSkipsUnreadablePages(t *testing.T) {
	data, _ := shapes[0].file(t, 3)
	all := scan(t, data)
	for _, bad := range []int64{0, 1, 5, 9} {
		var got []found
		card := dyingCard{data, func(p int64) bool { return p == bad }}
		skipped, err := Scan(card, int64(len(data)), func(page uint64, key, value []byte) {
			got = append(got, found{page, string(key), string(value)})
		})
		if skipped != 1 || err != nil {
			t.Errorf("%d pages skipped, %v; want page %d alone", skipped, err, bad)
		}
		for _, f := range all {
			over := uint64(len(f.key)+len(f.value)) / 4096
			if uint64(bad) >= f.page && uint64(bad) <= f.page+over+3 {
				continue // on the bad page, or may be
			}
			if !slices.Contains(got, f) {
				t.Fatalf("with page %d unreadable, key %q of page %d is missing", bad, f.key, f.page)
			}
		}
	}
	card := dyingCard{data, func(int64) bool { return true }}
	skipped, err := Scan(card, int64(len(data)), func(uint64, []byte, []byte) {})
	if !errors.Is(err, errIO) || skipped != (len(data)+4095)/4096 {
		t.Errorf("%d pages skipped, %v; want all and the error", skipped, err)
	}
	f, err := Open(dyingCard{data, func(p int64) bool { return p == 3 || p == 4 }}, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(nil); err != nil && !errors.Is(err, errIO) {
		t.Errorf("got %v", err)
	}
}
