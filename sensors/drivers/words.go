package drivers

import (
	"math"
	"os/user"
	"path/filepath"
	"strings"
)

// userName is who runs the program, for a command that a person can paste.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "$USER"
}

// list is the names of files, for a sentence.
func list(paths []string) string {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = filepath.Base(p)
	}
	return strings.Join(names, ", ")
}

// hundredths rounds to 0.01, as fine as any part here means it, so that a
// payload reads 45.2 and not 45.199999999.
func hundredths(x float64) float64 { return math.Round(x*100) / 100 }

// asFine rounds to the decimal place of a part's resolution: steps of 0.125 to
// 0.1, of 0.004 to 0.001.
func asFine(x, resolution float64) float64 {
	places := math.Ceil(-math.Log10(resolution) - 1e-9)
	tens := math.Pow(10, min(max(places, 0), 12))
	return math.Round(x*tens)/tens + 0 // never -0
}
