package drivers

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Looking a machine over, for `holdfast scan`: the functions of [Hardware] that
// begin with Scan say what is there and change nothing. Those that read sysfs look at
// names alone, never at values: a value of a 1-wire thermometer takes a second.

// Addresses are those that a kind's part can have on an I2C bus, the default
// first; none for a part that is elsewhere.
func Addresses(kind string) []uint16 {
	o, _ := New(kind)
	if p, ok := o.(interface{ addresses() []uint16 }); ok {
		return p.addresses()
	}
	return nil
}

func (o *onI2C) addresses() []uint16 { return slices.Clone(o.known) }

// kindsAt are the kinds that a part at an address may be, the likeliest first: a
// kind whose default it is before one that has to be moved there, then the one
// with fewer addresses to be at, then the one that more modules are sold with.
func kindsAt(addr uint16) (kinds []string) {
	for _, kind := range Kinds() {
		if slices.Contains(Addresses(kind), addr) {
			kinds = append(kinds, kind)
		}
	}
	moved := func(kind string) int { return min(1, slices.Index(Addresses(kind), addr)) }
	slices.SortStableFunc(kinds, func(a, b string) int {
		return cmp.Or(cmp.Compare(moved(a), moved(b)), cmp.Compare(len(Addresses(a)), len(Addresses(b))),
			cmp.Compare(slices.Index(seldom, a), slices.Index(seldom, b)))
	})
	return kinds
}

// seldom are kinds that have a commoner likeness at all of their addresses.
var seldom = []string{"ads1015"} // most boards have an ADS1115

// numbered are the files of a folder that are called prefix and a number, by
// the number. A folder that is not there has none.
func numbered(dir, prefix string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if digits, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if _, ok := number(digits); ok {
				names = append(names, e.Name())
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return names, nil
}

// shown is what a file says, for a person: drivers, device trees and plugged
// USB devices write what they like.
func shown(path string) string {
	text, err := readLine(path)
	if err != nil {
		return ""
	}
	return printable(text)
}

// printable is a text without what moves a terminal's cursor or ends a line, and
// not longer than a line.
func printable(text string) string {
	var clean []rune
	for _, r := range text {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar && len(clean) < 80 {
			clean = append(clean, r)
		}
	}
	return string(clean)
}

// leadsTo is the name of what a link leads to.
func leadsTo(path string) string {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// address is how a person writes an address of an I2C bus.
func address(addr uint16) string { return fmt.Sprintf("0x%02x", addr) }
