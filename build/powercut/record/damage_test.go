//go:build powercut

package record

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/holdfast-iot/holdfast/build/powercut/disk"
	"github.com/holdfast-iot/holdfast/build/powercut/promise"
	"github.com/holdfast-iot/holdfast/queue/pages"
)

// startsDamaged reports whether a life starts with a damaged file: the third of each seed, and the
// last if it has no other special feature.
func startsDamaged(n int) bool { return n == 2 || n == *lives-1 && n > 2 && *seed%4 == 3 }

const page = 4096

// corruptPage damages the queue's file like a worn card: a page is lost, has other content, or
// has a flipped bit; mostly a page with blocks. It is false if there is no page to damage.
func corruptPage(base []disk.File, random *rand.Rand) ([]disk.File, bool) {
	base = slices.Clone(base)
	i := slices.IndexFunc(base, func(f disk.File) bool { return f.Name == promise.File })
	if i < 0 || len(base[i].Data) < 4*page {
		return nil, false
	}
	data := slices.Clone(base[i].Data)
	base[i].Data = data
	used := []int{} // after the meta pages
	for n := 2; n < len(data)/page; n++ {
		if slices.ContainsFunc(data[n*page:(n+1)*page], func(b byte) bool { return b != 0 }) {
			used = append(used, n)
		}
	}
	if blocks := withBlocks(data); len(blocks) > 0 && random.IntN(4) > 0 {
		used = blocks
	}
	if len(used) == 0 {
		return nil, false
	}
	n := used[random.IntN(len(used))]
	p := data[n*page : (n+1)*page]
	switch random.IntN(3) {
	case 0:
		clear(p)
	case 1:
		for i := range p {
			p[i] = byte(random.Uint32())
		}
	default:
		for range 1 + random.IntN(3) {
			p[random.IntN(page)] ^= 1 << random.IntN(8)
		}
	}
	return base, true
}

// withBlocks are the pages that contain several blocks, or did.
func withBlocks(data []byte) (list []int) {
	count := map[int]int{}
	pages.Scan(bytes.NewReader(data), int64(len(data)), func(n uint64, key, value []byte) {
		if len(key) == 8 && len(value) > 500 {
			count[int(n)]++
		}
	})
	for n, c := range count {
		if n >= 2 && c >= 2 {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}
