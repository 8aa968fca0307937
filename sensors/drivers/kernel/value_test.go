package kernel

import (
	"strings"
	"testing"
)

func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-12.345000000", "102.129031250", "1e3", "NaN", "0x10",
		"-", "1.", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := Decimal(text)
		if err == nil && (x > 1e18 || x < -1e18 || x != x) {
			t.Errorf("%q is %v", text, x)
		}
		if err != nil && strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("%q: %v", text, err)
		}
	})
}
