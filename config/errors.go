package config

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// An Error is one thing in the file that a person has to change.
type Error struct {
	File string
	Line int    // from 1; 0: the file as a whole
	Col  int    // from 1, in characters
	Path string // the keys that lead there, "sensors.door.gpio"; empty at the top
	Text string
}

// Error returns FILE:LINE:COLUMN: PATH: TEXT on one line, without the parts that are not
// known. Editors and CI systems can jump to the place in this format.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	b.WriteString(": " + e.Text)
	return strings.ReplaceAll(b.String(), "\n", `\n`) // a key can have a line end; an error is one line
}

// Errors are all mistakes in a file, in the order of the file.
type Errors []Error

// Error returns the errors, one on each line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Limits of what is reported: more does not help the person who corrects the file,
// and a file of 1MiB may have a hundred thousand mistakes.
const (
	maxErrors    = 100
	maxErrorText = 1000 // bytes of one error, which repeats what the file has
	maxErrorPath = 200
)

// clip shortens a text to at most limit bytes, without cutting a character, and adds "...".
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}

// First returns the first n errors and, if there are others, one that counts
// them.
func (es Errors) First(n int) Errors {
	if len(es) <= n {
		return es
	}
	// No line: the count is about the file as a whole.
	rest := Error{File: es[0].File, Text: fmt.Sprintf("and %d more: holdfast check lists all", len(es)-n)}
	return append(slices.Clone(es[:n]), rest)
}

// sorted sorts the errors in place by their position and removes repeated ones: a YAML alias
// repeats a mistake.
func (es Errors) sorted() Errors {
	sort.SliceStable(es, func(i, j int) bool {
		return cmp.Or(cmp.Compare(es[i].Line, es[j].Line), cmp.Compare(es[i].Col, es[j].Col)) < 0
	})
	return slices.Compact(es)
}
