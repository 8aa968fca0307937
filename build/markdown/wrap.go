// Package markdown formats the pages that build/docs and build/brokers generate.
package markdown

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Columns is the maximum length of a line of prose.
const Columns = 100

var listItem = regexp.MustCompile(`^(- |[0-9]+\. )`)

// Wrap breaks paragraphs and list items at [Columns]. It does not change headings, tables,
// fenced code, and code that is indented by four blanks.
func Wrap(text string) string {
	var w wrapper
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		w.line(line)
	}
	w.flush()
	return strings.Join(w.out, "\n") + "\n"
}

type wrapper struct {
	out    []string
	fenced bool
	indent string   // of the lines of a list item except the first
	words  []string // of the current paragraph
}

func (w *wrapper) line(line string) {
	fence := strings.HasPrefix(line, "```")
	code := strings.HasPrefix(line, "    ") && len(w.words) == 0
	switch {
	case fence, w.fenced, code, line == "", line[0] == '|', line[0] == '#':
		w.flush()
		w.out = append(w.out, line)
		w.fenced = w.fenced != fence
		return
	}
	if marker := listItem.FindString(line); marker != "" {
		w.flush()
		w.indent = strings.Repeat(" ", len(marker))
	}
	w.words = append(w.words, strings.Fields(line)...)
}

// flush writes the current paragraph.
func (w *wrapper) flush() {
	line, width := "", 0
	for _, word := range w.words {
		n := utf8.RuneCountInString(word)
		if width > 0 && width+1+n > Columns {
			w.out = append(w.out, line)
			line, width = w.indent+word, len(w.indent)+n
			continue
		}
		if width > 0 {
			line, width = line+" ", width+1
		}
		line, width = line+word, width+n
	}
	if width > 0 {
		w.out = append(w.out, line)
	}
	w.words, w.indent = nil, ""
}
