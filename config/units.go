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

// A unit is a word after a number, with its factor.
type unit struct {
	name string
	of   float64 // bytes, or nanoseconds
}

// No weeks, months or years, because their abbreviations differ. Nothing less than a
// millisecond: no sensor is that fast.
var durationUnits = []unit{
	{"ms", float64(time.Millisecond)},
	{"s", float64(time.Second)},
	{"m", float64(time.Minute)},
	{"h", float64(time.Hour)},
	{"d", float64(24 * time.Hour)},
}

// kB and MB are missing, because they are used for powers of ten and for powers of two, and
// the limit of a queue should be clear.
var sizeUnits = []unit{{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}

// maxDuration limits every duration of a file, so that code may multiply one by a small factor
// without an overflow. Most keys have a lower limit of their own.
const maxDuration = 3650 * 24 * time.Hour

// parseDuration parses "30s", "1.5h", "1h30m" or "90d". 0 without a unit is accepted,
// because it is the same in every unit.
func parseDuration(text string) (time.Duration, error) {
	n, err := parseUnits(text, durationUnits, "such as 30s", func(string) string { return ": ms, s, m, h, d" })
	if err == nil && n > int64(maxDuration) {
		return 0, fmt.Errorf("%q is too long: at most 3650d", text)
	}
	return time.Duration(n), err
}

// A size is a number of bytes, such as "64MiB".
type size int64

// UnmarshalText accepts sums such as 64MiB and 1GiB512MiB, and 0.
func (s *size) UnmarshalText(text []byte) error {
	n, err := parseUnits(string(text), sizeUnits, "such as 30MiB", sizeOf)
	*s = size(n)
	return err
}

// sizeOf suggests the unit of a number without one: MiB, or bytes if that would be more
// than a disk has. The suggestion is always valid.
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

// parseUnits adds up numbers with units: "1h30m" and "1.5h" are the same. A number without
// a unit is rejected, because it is ambiguous; hint returns the suggestion. So is a sum
// that does not fit into an int64; the result is never negative.
func parseUnits(text string, units []unit, example string, hint func(number string) string) (int64, error) {
	if text == "0" {
		return 0, nil
	}
	// Floats: 1.5h is a whole number of nanoseconds, and 2^53 of them are a hundred days, below
	// which rounding is not visible.
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

// cutUnit splits a number and its unit off the front of a text. A unit ends at the next
// digit, so blanks around it are ignored.
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

// unitNamed is the factor of a unit. The error lists the units, and explains why MB and kB
// are missing.
func unitNamed(word string, units []unit) (float64, error) {
	var names []string
	for _, u := range units {
		if u.name == word {
			return u.of, nil
		}
		names = append(names, u.name)
	}
	text := fmt.Sprintf("unknown unit %q; known are %s", word, strings.Join(names, ", "))
	// kB and MB: the reason why they are rejected.
	if len(word) == 2 && word[1] == 'B' && slices.Contains(names, "KiB") {
		text += " (" + word + " means two things)"
	}
	return 0, errors.New(text)
}
