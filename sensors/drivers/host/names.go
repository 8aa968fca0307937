package host

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Numbered are the files of a folder that are called prefix and a number, by
// the number. A folder that is not there has none.
func Numbered(dir, prefix string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if digits, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if _, ok := ParseNumber(digits); ok {
				names = append(names, e.Name())
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return names, nil
}

// ReadPrintable is the line in a file as [Printable] text, empty if the file cannot
// be read: drivers, device trees and plugged USB devices write what they like.
func ReadPrintable(path string) string {
	text, err := ReadLine(path)
	if err != nil {
		return ""
	}
	return Printable(text)
}

// Printable is a text without what moves a terminal's cursor or ends a line, and
// not longer than a line.
func Printable(text string) string {
	return PrintableN(text, 80)
}

// PrintableN is [Printable] of another length, in characters.
func PrintableN(text string, length int) string {
	var clean []rune
	for _, r := range text {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar && len(clean) < length {
			clean = append(clean, r)
		}
	}
	return string(clean)
}

// LinkTarget is the last element of the path that a symbolic link leads to, empty
// where there is no such link.
func LinkTarget(path string) string {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// CompareNatural puts temp2 before temp10.
func CompareNatural(a, b string) int {
	cut := func(s string) string { return strings.TrimRight(s, "0123456789") }
	if cut(a) == cut(b) && len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// ParseNumber reads digits alone: no sign, and no zero in front that a person might
// mean as octal.
func ParseNumber(digits string) (int, bool) {
	n, err := strconv.ParseUint(digits, 10, 16)
	return int(n), err == nil && strconv.FormatUint(n, 10) == digits
}

// ReadLine reads a file of one line, as those of sysfs and procfs are, without
// the space around it.
func ReadLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
