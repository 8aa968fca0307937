package pages

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// A victim is a file to be damaged.
type victim struct {
	shape
	data, older []byte
	pairs       []found
}

// An injury damages a file in place, or returns what is left of it.
type injury struct {
	name string
	do   func(rnd *rand.Rand, v *victim, b []byte) []byte
}

var injuries = []injury{
	{"flip a bit", func(rnd *rand.Rand, v *victim, b []byte) []byte { flip(rnd, b); return b }},
	{"flip ten bits", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		for range 10 {
			flip(rnd, b)
		}
		return b
	}},
	{"flip a bit of a header", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		flip(rnd, v.page(rnd, b)[:16])
		return b
	}},
	{"flip a bit of a table", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		flip(rnd, v.page(rnd, b)[16:80])
		return b
	}},
	{"zero a page", func(rnd *rand.Rand, v *victim, b []byte) []byte { clear(v.page(rnd, b)); return b }},
	{"zero a sector", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		p := v.page(rnd, b)
		at := 512 * rnd.IntN(len(p)/512)
		clear(p[at : at+512])
		return b
	}},
	{"swap two pages", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		p, q := v.page(rnd, b), v.page(rnd, b)
		tmp := slices.Clone(p)
		copy(p, q)
		copy(q, tmp)
		return b
	}},
	{"copy a page over another", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		copy(v.page(rnd, b), v.page(rnd, b))
		return b
	}},
	{"bring an old page back", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		at := v.offset(rnd, v.older)
		copy(b[at:at+v.pageSize], v.older[at:])
		return b
	}},
	{"bring both old metas back", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		copy(b[:2*v.pageSize], v.older)
		return b
	}},
	{"fill a page with random bytes", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		noise(rnd, v.page(rnd, b))
		return b
	}},
	{"truncate", func(rnd *rand.Rand, v *victim, b []byte) []byte { return b[:rnd.IntN(len(b))] }},
	{"ruin a meta", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		noise(rnd, b[rnd.IntN(2)*v.pageSize:][:80])
		return b
	}},
	{"ruin both metas", func(rnd *rand.Rand, v *victim, b []byte) []byte { noise(rnd, b[:2*v.pageSize]); return b }},
	{"lie in the metas", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		for _, m := range [][]byte{b, b[v.pageSize:]} {
			field := []int{16, 32, 40}[rnd.IntN(3)] // root, freelist, high water mark
			binary.LittleEndian.PutUint64(m[headerSize+field:], rnd.Uint64N(uint64(2*len(b)/v.pageSize)))
			seal(m)
		}
		return b
	}},
	{"point a branch elsewhere", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		if p := v.branch(rnd, b); p != nil {
			i := rnd.IntN(int(binary.LittleEndian.Uint16(p[10:])))
			binary.LittleEndian.PutUint64(p[headerSize+16*i+8:], rnd.Uint64N(uint64(len(b)/v.pageSize)))
		}
		return b
	}},
	{"point a branch at itself", func(rnd *rand.Rand, v *victim, b []byte) []byte {
		if p := v.branch(rnd, b); p != nil {
			i := rnd.IntN(int(binary.LittleEndian.Uint16(p[10:])))
			copy(p[headerSize+16*i+8:], p[:8])
		}
		return b
	}},
	{"random bytes", func(rnd *rand.Rand, v *victim, b []byte) []byte { noise(rnd, b); return b }},
}

func flip(rnd *rand.Rand, b []byte) { b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8) }

func noise(rnd *rand.Rand, b []byte) {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], rnd.Uint64())
	rand.NewChaCha8(key).Read(b)
}

func (v *victim) offset(rnd *rand.Rand, b []byte) int {
	return rnd.IntN(len(b)/v.pageSize) * v.pageSize
}

func (v *victim) page(rnd *rand.Rand, b []byte) []byte {
	at := v.offset(rnd, b)
	return b[at : at+v.pageSize]
}

// branch returns some branch page, or a leaf when it is out of luck.
func (v *victim) branch(rnd *rand.Rand, b []byte) []byte {
	for range 1000 {
		p := v.page(rnd, b)
		if h := parseHeader(p); h.flags == branchPage && h.count > 0 && h.count < v.pageSize/elementSize {
			return p
		}
	}
	return nil
}
