package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A unit is a word behind a number and what it counts for.
type unit struct {
	name string
	of   float64 // bytes, or nanoseconds
}

// No weeks, months or years: nobody agrees how they are written. Nothing under
// a millisecond: no sensor here is that fast.
var durationUnits = []unit{
	{"ms", float64(time.Millisecond)},
	{"s", float64(time.Second)},
	{"m", float64(time.Minute)},
	{"h", float64(time.Hour)},
	{"d", float64(24 * time.Hour)},
}

// kB and MB are not among them: half the world reads them as powers of ten and
// half as powers of two, and the bound of a queue should not depend on that.
var sizeUnits = []unit{{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}

// maxDuration bounds every duration of a file, so that code may multiply one by a small factor
// without an overflow. Most keys have a lower bound of their own.
const maxDuration = 3650 * 24 * time.Hour

// parseDuration reads "30s", "1.5h", "1h30m" or "90d". A bare 0 is taken: it
// is the same in every unit.
func parseDuration(text string) (time.Duration, error) {
	n, err := parseUnits(text, durationUnits, "such as 30s", func(string) string { return ": ms, s, m, h, d" })
	if err == nil && n > int64(maxDuration) {
		return 0, fmt.Errorf("%q is too long: at most 3650d", text)
	}
	return time.Duration(n), err
}

// A size is a number of bytes, written "64MiB".
type size int64

// UnmarshalText accepts sums such as 64MiB and 1GiB512MiB, and 0.
func (s *size) UnmarshalText(text []byte) error {
	n, err := parseUnits(string(text), sizeUnits, "such as 30MiB", sizeOf)
	*s = size(n)
	return err
}

// sizeOf is what a number without a unit probably stands for: MiB, or bytes if
// as MiB it would be more than a disk has. What it names is not refused.
func sizeOf(number string) string {
	n, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil:
		return ""
	case n >= 100_000:
		n /= 1 << 20
	}
	return fmt.Sprintf(", such as %.0fMiB", max(1, math.Round(n)))
}

// parseUnits adds up numbers with units: "1h30m" and "1.5h" are the same. A number
// without a unit is rejected, since nobody knows what was meant; hint says what to
// write. So is what does not fit into an int64; the result is never negative.
func parseUnits(text string, units []unit, example string, hint func(number string) string) (int64, error) {
	if text == "0" {
		return 0, nil
	}
	// Floats: 1.5h is whole in nanoseconds, and 2^53 of them are a hundred days, below
	// which rounding does not show.
	var sum float64
	for rest := text; ; {
		number, word, tail := cutUnit(rest)
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number with a unit, %s", text, example)
		}
		if word == "" {
			return 0, fmt.Errorf("%q needs a unit%s", text, hint(number))
		}
		of, err := unitNamed(word, units)
		if err != nil {
			return 0, fmt.Errorf("%q: %w", text, err)
		}
		if sum += n * of; sum >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is too large", text)
		}
		if rest = tail; rest == "" {
			return int64(math.Round(sum)), nil
		}
	}
}

// cutUnit takes a number and the unit behind it off the front of a text. A unit goes
// to the next digit, so blanks around it do not matter.
func cutUnit(s string) (number, word, tail string) {
	isNumber := func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }
	end := func(s string, of func(rune) bool) int {
		if i := strings.IndexFunc(s, func(r rune) bool { return !of(r) }); i >= 0 {
			return i
		}
		return len(s)
	}
	n := end(s, isNumber)
	number, s = s[:n], s[n:]
	w := end(s, func(r rune) bool { return !isNumber(r) })
	return number, strings.TrimSpace(s[:w]), s[w:]
}

// unitNamed is what a unit counts for. The error lists those that there are, and
// says why MB and kB are not among them.
func unitNamed(word string, units []unit) (float64, error) {
	var names []string
	for _, u := range units {
		if u.name == word {
			return u.of, nil
		}
		names = append(names, u.name)
	}
	text := fmt.Sprintf("unknown unit %q; known are %s", word, strings.Join(names, ", "))
	// kB and MB: why they are rejected.
	if len(word) == 2 && word[1] == 'B' && slices.Contains(names, "KiB") {
		text += " (" + word + " means two things)"
	}
	return 0, errors.New(text)
}
