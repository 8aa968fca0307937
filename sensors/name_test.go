package sensors

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzIsName compares the loop with the form that the documentation gives.
func FuzzIsName(f *testing.F) {
	for _, s := range []string{"", "a", "room-temperature_2", "a.b", "a/b", "#", "ä", "\n", "a\n", "\x00", "\xff",
		strings.Repeat("Z", maxName), strings.Repeat("9", maxName+1)} {
		f.Add(s)
	}
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := IsName(s); got != form.MatchString(s) {
			t.Errorf("%q is a name: %v", s, got)
		}
	})
}
