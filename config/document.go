package config

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document parses the text, which must be a single mapping. It returns nil if it is not,
// and the reason was reported; an empty file is an empty mapping. A second document is
// rejected, because half of the text would be ignored.
func (d *decoder) document(text string) *yaml.Node {
	if wrong := firstUnreadable(text); wrong != nil {
		d.failAt(text, *wrong)
		return nil
	}
	if strings.Count(text, "\n")+strings.Count(text, ",") > maxValues { // before the library creates a node for each
		d.failAt(text, *faultAt(0, tooMany, maxValues))
		return nil
	}
	// An empty file lacks required keys: that is reported like other errors, at the first line.
	empty := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: 1, Column: 1}
	var first, second yaml.Node
	in := yaml.NewDecoder(strings.NewReader(anyVersion(text)))
	err := in.Decode(&first)
	if errors.Is(err, io.EOF) {
		return empty
	}
	if err == nil {
		err = in.Decode(&second) // io.EOF is expected
	}
	switch {
	case err == nil:
		d.fail(&second, "", "a second document begins here: one file is one configuration")
	case !errors.Is(err, io.EOF):
		d.failAt(text, syntaxFault(text, err))
	case len(first.Content) == 1:
		return first.Content[0]
	default:
		return empty
	}
	return nil
}

// anyVersion replaces the version in a %YAML directive by one that the library accepts: for
// configurations YAML 1.1 and 1.2 are the same.
func anyVersion(text string) string {
	// Directives come before the first line with content; comments may be between them.
	rest := text
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		switch {
		case yamlVersion.MatchString(line):
			at := len(text) - len(rest) + len("%YAML 1.")
			return text[:at] + "1" + text[at+1:]
		case line != "" && line[0] != '#' && line[0] != '%' && line[0] != '\r':
			return text
		}
		rest = after
	}
	return text
}

// yamlVersion is the only directive that is accepted.
var yamlVersion = regexp.MustCompile(`^%YAML 1\.[0-9]([ \r]|$)`)

// position is the line and column of an offset, both from 1; the column counts characters.
// A byte order mark has no column, because editors do not show it.
func position(text string, at int) (line, col int) {
	before := strings.TrimPrefix(text[:at], byteOrderMark)
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// syntaxFault finds the cause of an error of the YAML library. A character that looks like
// another one is the cause.
func syntaxFault(text string, err error) fault {
	f := newFinder(text)
	wrong := f.find()
	if wrong == nil { // the finder knows less YAML than the library
		wrong = libraryFault(text, err)
	}
	end := wrong.at + strings.IndexByte(text[wrong.at:]+"\n", '\n')
	if len(f.unusual) > 0 && f.unusual[0].at < end {
		return f.unusual[0]
	}
	return *wrong
}

// errorLine matches the start of an error of the library, if it has a line.
var errorLine = regexp.MustCompile(`^line (\d+): `)

// libraryFault is the error of the library, at its line. The library counts the parser's
// lines from 0 and the scanner's from 1, and omits the first line.
func libraryFault(text string, err error) *fault {
	// Without a line the fault is at the start of the file.
	says := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := errorLine.FindStringSubmatch(says); m != nil {
		line, _ = strconv.Atoi(m[1])
		says = says[len(m[0]):]
		if strings.HasPrefix(says, "did not find expected") {
			line++
		}
	}
	at := 0
	for rest := text; line > 1 && strings.Contains(rest, "\n"); line-- {
		at += strings.IndexByte(rest, '\n') + 1
		rest = text[at:]
	}
	at += len(text[at:]) - len(strings.TrimLeft(text[at:], " "))
	return faultAt(at, "this is not valid YAML: %s", says)
}

// explain replaces what was reported about a line with a character that looks like another
// one: that character is the cause. A file without errors keeps such characters, which may
// be part of a name.
func (d *decoder) explain(text string) {
	f := newFinder(text)
	f.find() // for the characters that it collects
	line, at := 1, 0
	for _, c := range f.unusual {
		line, at = line+strings.Count(text[at:c.at], "\n"), c.at
		onLine := func(e Error) bool { return e.Line == line }
		if !slices.ContainsFunc(d.errs, onLine) {
			continue
		}
		d.errs = slices.DeleteFunc(d.errs, onLine)
		d.failAt(text, c)
	}
}
