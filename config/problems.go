package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problems are the errors of a file, and the positions of all its keys and values. A path
// is a list of keys such as "sensors.door.gpio" or "mqtt.servers[0]"; "" is the whole file.
type problems struct {
	file      string                // its name in errors
	errs      Errors                // at most maxErrors, in the order in which they were found
	more      int                   // number of errors that are not in errs
	keys      map[string]*yaml.Node // the key at each path
	values    map[string]*yaml.Node // the value at each path
	bad       map[string]bool       // paths with a reported error
	badWithin map[string]bool       // these paths and all above them
	left      int                   // number of values until the file is too large; negative: it is too large
}

// newProblems returns the problems of a file without errors so far.
func newProblems(file string) problems {
	return problems{file: file, left: maxValues,
		keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{},
		bad: map[string]bool{}, badWithin: map[string]bool{}}
}

// add adds an error, whatever else was reported at its position.
func (p *problems) add(e Error) { p.errs = append(p.errs, e) }

// full reports whether the maximum number of errors is reached, and then counts one more.
// It is called before a long message is built.
func (p *problems) full() bool {
	if len(p.errs) < maxErrors {
		return false
	}
	p.more++
	return true
}

// errorAt reports an error at n. The path is not suppressed: there may be other errors.
// After a file that was too large nothing is reported.
func (p *problems) errorAt(n *yaml.Node, path, format string, args ...any) {
	if p.left < 0 { // the file is too large: no other error is reported
		return
	}
	if p.full() {
		return
	}
	p.add(Error{p.file, n.Line, n.Column, clip(path, maxErrorPath), clip(fmt.Sprintf(format, args...), maxErrorText)})
}

// fail reports an error of the value at a path; later errors there are suppressed.
func (p *problems) fail(n *yaml.Node, path, format string, args ...any) {
	p.errorAt(n, path, format, args...)
	p.suppress(path)
}

// failKey fails at the key of a path, or at the nearest existing key above it. It is for
// missing keys and keys that do not belong there.
func (p *problems) failKey(path, format string, args ...any) {
	p.fail(nearest(p.keys, path), path, format, args...)
}

// failValue fails at the value of a path, or at the nearest existing value above it.
func (p *problems) failValue(path, format string, args ...any) {
	p.fail(nearest(p.values, path), path, format, args...)
}

// failAt reports a fault at its position in the text. It has no path, because the text
// could not be parsed that far.
func (p *problems) failAt(text string, wrong fault) {
	line, col := position(text, wrong.at)
	p.add(Error{p.file, line, col, "", wrong.text})
}

// suppress suppresses later errors at a path: it adds the path to bad, and all paths above
// it to badWithin.
func (p *problems) suppress(path string) {
	p.bad[path] = true
	for !p.badWithin[path] {
		p.badWithin[path] = true
		path = path[:max(0, strings.LastIndexAny(path, ".["))] // "" at the end
	}
}

// place is the position of a kind's problem with an option: at a scalar value, otherwise at
// the nearest key, because a mapping may start on a later line.
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

// clean reports whether there was no error at some keys under a path, nor below them.
// Checks that compare several keys call it first.
func (p *problems) clean(path string, keys ...string) bool {
	for _, key := range keys {
		if p.badWithin[join(path, key)] {
			return false
		}
	}
	return true
}

// spend counts one value. This limits the work for aliases of aliases, and ends the
// expansion of an alias that contains itself. If the limit is reached, that is the only
// error.
func (p *problems) spend(n *yaml.Node) bool {
	if p.left--; p.left == 0 {
		p.errs, p.more = nil, 0
		p.fail(n, "", tooMany, maxValues)
		p.left = -1
	}
	return p.left > 0
}

// all returns the errors in the order of the file, and the number of further errors.
func (p *problems) all() Errors {
	all := p.errs.sorted()
	if p.more > 0 { // counted but not stored: see maxErrors
		text := fmt.Sprintf("and %d more mistakes: correct these first", p.more)
		all = append(all, Error{File: p.file, Text: text})
	}
	return all
}

// nearest is the node at a path, or at the longest path above it that has one; otherwise
// the start of the file.
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
