package pages

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var damageCopies = flag.Int("copies", 0, "damaged copies in TestVerifiedFileDoesNotCrashBbolt")

// proving is set by build/prove; build/test takes a sample.
var proving = os.Getenv("HOLDFAST_PROVE") != ""

// TestVerifiedFileDoesNotCrashBbolt damages copies of files. If Verify finds no damage, the
// unmodified bbolt opens the copy, in a child process because it could crash. Scan must find
// the pairs of every page that was not changed.
func TestVerifiedFileDoesNotCrashBbolt(t *testing.T) {
	var victims []*victim
	for i, s := range shapes {
		v := &victim{shape: s}
		v.data, v.older = s.file(t, uint64(100+i))
		v.pairs = scan(t, v.data)
		t.Logf("%v: %d bytes", s, len(v.data))
		victims = append(victims, v)
	}
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	var list []string
	total, clean := map[string]int{}, map[string]int{}
	copies := 700
	switch {
	case *damageCopies > 0:
		copies = *damageCopies
	case proving:
		copies = 2100
	case testing.Short():
		copies = 200
	}
	for n := range copies {
		rnd := rand.New(rand.NewPCG(seed, uint64(n)))
		v, in := victims[n%len(victims)], injuries[n/len(victims)%len(injuries)]
		data := in.do(rnd, v, slices.Clone(v.data))
		what := fmt.Sprintf("seed %d, copy %d, %v: %s", seed, n, v.shape, in.name)
		v.checkScan(t, what, data)
		total[in.name]++
		if _, err := verify(data); err != nil {
			continue
		}
		clean[in.name]++
		path := filepath.Join(dir, fmt.Sprintf("%d.db", n))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		list = append(list, path+"\t"+what)
	}
	for _, in := range injuries {
		t.Logf("%4d of %4d clean: %s", clean[in.name], total[in.name], in.name)
	}
	for batch := range slices.Chunk(list, 200) {
		t.Run(fmt.Sprintf("%d files", len(batch)), func(t *testing.T) { t.Parallel(); useInChild(t, batch) })
	}
}

// checkScan requires the pairs of all leaves that are as they were.
func (v *victim) checkScan(t *testing.T, what string, data []byte) {
	t.Helper()
	have := map[found]bool{}
	for _, f := range scan(t, data) {
		have[f] = true
	}
	if tooShort(v, data) {
		return
	}
	for _, f := range v.pairs {
		at := int(f.page) * v.pageSize
		end := at + v.pageSize*int(1+parseHeader(v.data[at:]).overflow)
		if end = min(end, len(v.data)); end > len(data) || !bytes.Equal(v.data[at:end], data[at:end]) {
			continue
		}
		if !have[f] {
			t.Fatalf("%s: Scan misses key %q of page %d", what, f.key, f.page)
		}
	}
}

// tooShort reports that so little is left of the file that its page size cannot
// be told.
func tooShort(v *victim, data []byte) bool {
	_, err := metaPageSize(bytes.NewReader(data), int64(len(data)))
	return err != nil && len(data) < 8*v.pageSize
}
