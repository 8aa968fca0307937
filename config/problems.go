package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problems are what is wrong with a file, with the places of all that is in it. A
// path is a list of keys such as "sensors.door.gpio" or "mqtt.servers[0]"; "" is
// the file as a whole.
type problems struct {
	file      string                // as errors name it
	errs      Errors                // at most maxErrors, in the order in which they were found
	more      int                   // mistakes that are not in errs
	keys      map[string]*yaml.Node // the key at each path
	values    map[string]*yaml.Node // and what it holds
	bad       map[string]bool       // paths that have been complained about
	badWithin map[string]bool       // those and all above them
	left      int                   // values to go until the file is too large; negative: it is
}

// newProblems are those of a file that has none yet.
func newProblems(file string) problems {
	return problems{file: file, left: maxValues,
		keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{},
		bad: map[string]bool{}, badWithin: map[string]bool{}}
}

// add notes an error, whatever else was said about its place.
func (p *problems) add(e Error) { p.errs = append(p.errs, e) }

// full reports whether there are as many errors as are reported, and then counts one
// more. Call it before the work of a long message.
func (p *problems) full() bool {
	if len(p.errs) < maxErrors {
		return false
	}
	p.more++
	return true
}

// errorAt reports what is wrong at n. The path is not suppressed: something else may
// be wrong there, too. After a file that was too large nothing is reported.
func (p *problems) errorAt(n *yaml.Node, path, format string, args ...any) {
	if p.left < 0 { // the file is too large, which is all that is reported
		return
	}
	if p.full() {
		return
	}
	p.add(Error{p.file, n.Line, n.Column, clip(path, maxErrorPath), clip(fmt.Sprintf(format, args...), maxErrorText)})
}

// fail reports the value at a path as wrong; nothing more is said about it.
func (p *problems) fail(n *yaml.Node, path, format string, args ...any) {
	p.errorAt(n, path, format, args...)
	p.suppress(path)
}

// failKey fails at the key of a path, or at the nearest key above it that is there.
// It is for what is missing or does not belong there.
func (p *problems) failKey(path, format string, args ...any) {
	p.fail(nearest(p.keys, path), path, format, args...)
}

// failValue fails at the value of a path, or at the nearest one above it.
func (p *problems) failValue(path, format string, args ...any) {
	p.fail(nearest(p.values, path), path, format, args...)
}

// failAt reports a fault at its place in the text. It has no path: the text could
// not be read that far.
func (p *problems) failAt(text string, wrong fault) {
	line, col := position(text, wrong.at)
	p.add(Error{p.file, line, col, "", wrong.text})
}

// suppress makes what was said about a path the last: bad has it from now on, and
// badWithin all paths above it.
func (p *problems) suppress(path string) {
	p.bad[path] = true
	for !p.badWithin[path] {
		p.badWithin[path] = true
		path = path[:max(0, strings.LastIndexAny(path, ".["))] // at last ""
	}
}

// place is where a kind's problem with an option is reported: at the value if it is
// a single one, else at the nearest key, because a mapping begins somewhere else
// than where a person looks.
func (p *problems) place(path string) *yaml.Node {
	if v := p.values[path]; v != nil {
		if v = resolve(v); v.Kind == yaml.ScalarNode && !isNull(v) {
			return v
		}
	}
	return nearest(p.keys, path)
}

// has reports whether the file has a key at a path.
func (p *problems) has(path string) bool { return p.keys[path] != nil }

// clean reports whether nothing was wrong at some keys under a path, nor below them.
// Checks that compare several keys ask for it first.
func (p *problems) clean(path string, keys ...string) bool {
	for _, key := range keys {
		if p.badWithin[join(path, key)] {
			return false
		}
	}
	return true
}

// spend counts one value. It bounds the work that a few lines of aliases of
// aliases can make, and ends the walk through an alias that contains itself.
// When it has come to its end, that is the only mistake.
func (p *problems) spend(n *yaml.Node) bool {
	if p.left--; p.left == 0 {
		p.errs, p.more = nil, 0
		p.fail(n, "", tooMany, maxValues)
		p.left = -1
	}
	return p.left > 0
}

// all returns what was found, in the order of the file, and how much more
// there is.
func (p *problems) all() Errors {
	all := p.errs.sorted()
	if p.more > 0 { // counted, not kept: see maxErrors
		text := fmt.Sprintf("and %d more mistakes: correct these first", p.more)
		all = append(all, Error{File: p.file, Text: text})
	}
	return all
}

// nearest is the node at a path, or at the longest path above it that has one; the
// start of the file if there is none.
func nearest(nodes map[string]*yaml.Node, path string) *yaml.Node {
	for {
		if n := nodes[path]; n != nil {
			return n
		}
		if path == "" {
			return &yaml.Node{Line: 1, Column: 1}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}
