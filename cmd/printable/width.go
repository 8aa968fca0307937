package printable

import "unicode"

// wide are the characters that a terminal shows in two columns: those of East Asian scripts
// in full width, and emoji (Unicode, UAX #11, classes W and F). Blocks are complete,
// including unassigned characters.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1},                                           // Hangul Jamo, the leading ones
		{0x231a, 0x231b, 1}, {0x23e9, 0x23ec, 1}, {0x2614, 0x2615, 1}, // emoji among the symbols
		{0x26a1, 0x26a1, 1}, {0x26bd, 0x26be, 1}, {0x26c4, 0x26c5, 1}, // the same
		{0x2705, 0x2705, 1}, {0x274c, 0x274c, 1}, {0x2753, 0x2755, 1}, // the same
		{0x2795, 0x2797, 1}, {0x2b50, 0x2b50, 1}, {0x2b55, 0x2b55, 1}, // the same
		{0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1}, {0x3400, 0x4dbf, 1}, // radicals, kana, CJK
		{0x4e00, 0x9fff, 1}, {0xa000, 0xa4cf, 1}, {0xa960, 0xa97c, 1}, // CJK, Yi, Hangul Jamo
		{0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, // Hangul, CJK compatibility
		{0xff01, 0xff60, 1}, {0xffe0, 0xffe6, 1}, // full width
	},
	R32: []unicode.Range32{
		{0x16fe0, 0x18d08, 1}, {0x1aff0, 0x1b2fb, 1}, // Tangut, Khitan, kana
		{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, // emoji
		{0x1f7e0, 0x1f7eb, 1}, {0x1f900, 0x1f9ff, 1}, // the same
		{0x1fa70, 0x1faff, 1},                        // the same
		{0x20000, 0x2fffd, 1}, {0x30000, 0x3fffd, 1}, // CJK
	},
}

// Width is the number of terminal columns of a text: combining marks take none, and wide
// characters two. Joined emoji count separately, because terminals differ there.
func Width(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}
