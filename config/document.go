package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document parses the text down to the one mapping that it has to be. It is
// nil if there is none; an empty file is an empty mapping.
func (d *decoder) document(data []byte) *yaml.Node {
	if at := firstUnprintable(data); at >= 0 {
		line, col := position(data, at)
		d.errs = append(d.errs, Error{d.file, line, col, "", "this is no UTF-8 text: a configuration holds no such character"})
		return nil
	}
	empty := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: 1, Column: 1}
	var first, second yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(data))
	err := in.Decode(&first)
	if errors.Is(err, io.EOF) {
		return empty
	}
	if err == nil {
		err = in.Decode(&second)
	}
	switch {
	case err == nil:
		d.fail(&second, "", "a second document begins here: one file is one configuration")
	case !errors.Is(err, io.EOF):
		d.errs = append(d.errs, syntaxError(d.file, data, err))
	case len(first.Content) == 1:
		return first.Content[0]
	default:
		return empty
	}
	return nil
}

// firstUnprintable is the offset of the first byte that is no text, or -1.
func firstUnprintable(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' && !strings.ContainsRune("\t\n\r", r) || r == 0x7f {
			return i
		}
		i += n
	}
	return -1
}

// position is the line and column of an offset.
func position(data []byte, at int) (line, col int) {
	before := data[:at]
	return 1 + bytes.Count(before, []byte("\n")),
		1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}

var (
	errorLine   = regexp.MustCompile(`^line (\d+): `)
	errorAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxError finds the place of what the YAML library complains about. It
// gives a line and no column, counts the parser's lines from 0 and the
// scanner's from 1, and leaves out the first; the column here is the first
// letter of the line.
func syntaxError(file string, data []byte, err error) Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := errorLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
		if strings.HasPrefix(text, "did not find expected") {
			line++
		}
	}
	if m := errorAnchor.FindStringSubmatch(text); m != nil {
		l, col := position(data, max(0, bytes.Index(data, []byte("*"+m[1]))))
		return Error{file, l, col, "", "there is no anchor with this name: a value that begins with * stands in quotes"}
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	line = min(line, len(lines))
	indent := lines[line-1][:len(lines[line-1])-len(strings.TrimLeft(lines[line-1], " \t"))]
	if i := strings.IndexByte(indent, '\t'); i >= 0 {
		return Error{file, line, i + 1, "", "a tab: YAML indents with spaces"}
	}
	return Error{file, line, len(indent) + 1, "", "this is no YAML: " + text}
}
