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

// Numbered returns the files of a folder whose names are prefix and a number, ordered by number. It
// returns none if the folder does not exist.
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

// ReadPrintable returns the line in a file as [Printable] text; it is empty if the file cannot be
// read. Texts of drivers, device trees and USB devices may contain any characters.
func ReadPrintable(path string) string {
	text, err := ReadLine(path)
	if err != nil {
		return ""
	}
	return Printable(text)
}

// Printable returns the printable characters of a text, at most 80, so that it cannot control a
// terminal.
func Printable(text string) string {
	return PrintableN(text, 80)
}

// PrintableN is [Printable] with another maximum length, in characters.
func PrintableN(text string, length int) string {
	var clean []rune
	for _, r := range text {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar && len(clean) < length {
			clean = append(clean, r)
		}
	}
	return string(clean)
}

// LinkTarget returns the last element of the target path of a symbolic link; it is empty if there
// is no such link.
func LinkTarget(path string) string {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// CompareNatural compares names so that temp2 comes before temp10.
func CompareNatural(a, b string) int {
	cut := func(s string) string { return strings.TrimRight(s, "0123456789") }
	if cut(a) == cut(b) && len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// ParseNumber parses a number up to 65535 of digits only: no sign, and no leading zero, which could
// be meant as octal.
func ParseNumber(digits string) (int, bool) {
	n, err := strconv.ParseUint(digits, 10, 16)
	return int(n), err == nil && strconv.FormatUint(n, 10) == digits
}

// ReadLine reads a file of one line, such as those of sysfs and procfs, and trims white space.
func ReadLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
