package host

import (
	"math"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// UserName returns the name of the user who runs the program, for a command in a message.
func UserName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "$USER"
}

// JoinNames joins the last elements of paths with commas, for a message.
func JoinNames(paths []string) string {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = filepath.Base(p)
	}
	return strings.Join(names, ", ")
}

// Round rounds to decimal places, so that a payload has 45.2 and not 45.199999999. A value that is
// too large to have digits there stays unchanged.
func Round(x float64, places int) float64 {
	if places > 22 { // the last power of ten that a float64 holds exactly
		return x
	}
	tens := math.Pow10(places)
	if math.Abs(x)*tens >= 1<<53 {
		return x
	}
	return math.Round(x*tens)/tens + 0 // never -0
}

// RoundHundredths rounds to 0.01: no supported part has a finer resolution in °C, %, hPa or lx.
func RoundHundredths(x float64) float64 { return Round(x, 2) }

// RoundToStep rounds to the decimal place of a part's resolution: steps of 0.125 to
// 0.1, of 0.004 to 0.001.
func RoundToStep(x, resolution float64) float64 {
	return Round(x, max(0, int(math.Ceil(-math.Log10(resolution)-1e-9))))
}

// DecimalPlaces returns the number of decimal places of the shortest text of a number.
func DecimalPlaces(x float64) int {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(x, 'f', -1, 64), ".")
	return len(fraction)
}
