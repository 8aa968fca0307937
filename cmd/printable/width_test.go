package printable

import (
	"testing"
	"unicode"
)

func TestWidthIsThatOfATerminal(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "door": 4, "Küche": 5, "Ku\u0308che": 5, "厨房": 4, "ｱ": 1, "Ａ": 2, "한국": 4, "かな": 4, "ไทย": 3,
		"آژیر": 4, "🚪": 2, "📦 1": 4, "°C": 2, "µg/m³": 5, "▁▂█": 3, "1階　台所": 9, "𠮷": 2,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

// TestWideRangesAreInOrder: unicode.Is requires it.
func TestWideRangesAreInOrder(t *testing.T) {
	last := rune(-1)
	check := func(lo, hi rune) {
		if lo <= last || hi < lo {
			t.Errorf("%U to %U comes after %U", lo, hi, last)
		}
		last = hi
	}
	for _, r := range wide.R16 {
		check(rune(r.Lo), rune(r.Hi))
	}
	for _, r := range wide.R32 {
		check(rune(r.Lo), rune(r.Hi))
	}
	if !unicode.Is(wide, '厨') || unicode.Is(wide, 'ü') {
		t.Error("the table is wrong")
	}
}
