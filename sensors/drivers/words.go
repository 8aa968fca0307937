package drivers

import (
	"math"
	"os/user"
	"path/filepath"
	"strconv"
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

// roundTo rounds to decimal places, so that a payload reads 45.2 and not
// 45.199999999. A value that has no digits there stays as it is.
func roundTo(x float64, places int) float64 {
	if places > 22 { // the last power of ten that a float64 holds exactly
		return x
	}
	tens := math.Pow10(places)
	if math.Abs(x)*tens >= 1<<53 {
		return x
	}
	return math.Round(x*tens)/tens + 0 // never -0
}

// hundredths rounds to 0.01, as fine as any part here means it.
func hundredths(x float64) float64 { return roundTo(x, 2) }

// asFine rounds to the decimal place of a part's resolution: steps of 0.125 to
// 0.1, of 0.004 to 0.001.
func asFine(x, resolution float64) float64 {
	return roundTo(x, max(0, int(math.Ceil(-math.Log10(resolution)-1e-9))))
}

// placesOf is how many decimal places a number has as a person writes it.
func placesOf(x float64) int {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(x, 'f', -1, 64), ".")
	return len(fraction)
}
