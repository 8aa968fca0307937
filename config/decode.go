package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxValues is how many values one file may have once its aliases are written out: a hundred
// times what the largest site needs, and a second's work for a Pi Zero.
const maxValues = 100_000

// A decoder fills structs from YAML and collects everything that is wrong, with
// its place. The keys of a struct are its fields' yaml tags; a field without a
// tag takes none, and an embedded struct or one tagged ",inline" lends its own.
//
// A scalar is its text: quotes and YAML's idea of its type do not matter, the
// field that takes it says what it has to be. An absent key leaves the field as
// it was; a key without a value is a mistake, unless a mapping belongs there.
type decoder struct {
	file      string
	errs      Errors
	keys      map[string]*yaml.Node // the key at each path
	values    map[string]*yaml.Node // and what it holds
	bad       map[string]bool       // paths that have been complained about
	badWithin map[string]bool       // those and all above them
	left      int                   // values to go until the file is too large
	more      int                   // mistakes that are not told
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, left: maxValues,
		keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{},
		bad: map[string]bool{}, badWithin: map[string]bool{}}
}

// errorAt complains about what is at n.
func (d *decoder) errorAt(n *yaml.Node, path, format string, args ...any) {
	if d.left < 0 {
		return // enough has been said
	}
	if d.full() {
		return
	}
	d.add(Error{d.file, n.Line, n.Column, clip(path, maxErrorPath), clip(fmt.Sprintf(format, args...), maxErrorText)})
}

// full reports whether enough was told, and counts what is not.
func (d *decoder) full() bool {
	if len(d.errs) < maxErrors {
		return false
	}
	d.more++
	return true
}

func (d *decoder) add(e Error) { d.errs = append(d.errs, e) }

// fail complains about the value at a path: nothing more is said about it.
func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	d.errorAt(n, path, format, args...)
	d.suppress(path)
}

// suppress makes this the last that is said about a path.
func (d *decoder) suppress(path string) {
	d.bad[path] = true
	for !d.badWithin[path] {
		d.badWithin[path] = true
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// failKey complains at the key of a path, or at the nearest key above it that
// is there.
func (d *decoder) failKey(path, format string, args ...any) {
	d.fail(nearest(d.keys, path), path, format, args...)
}

// failValue complains at the value of a path.
func (d *decoder) failValue(path, format string, args ...any) {
	d.fail(nearest(d.values, path), path, format, args...)
}

// place is the value at a path if it is a single one, else the nearest key.
func (d *decoder) place(path string) *yaml.Node {
	if v := d.values[path]; v != nil {
		if v = resolve(v); v.Kind == yaml.ScalarNode && !isNull(v) {
			return v
		}
	}
	return nearest(d.keys, path)
}

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

// has reports whether the file has a key at a path.
func (d *decoder) has(path string) bool { return d.keys[path] != nil }

// clean reports whether nothing was wrong at some keys under a path.
func (d *decoder) clean(path string, keys ...string) bool {
	for _, key := range keys {
		if d.badWithin[join(path, key)] {
			return false
		}
	}
	return true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

var (
	nodeType     = reflect.TypeFor[yaml.Node]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value fills v, whatever it is.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) {
	n, ok := d.follow(n, path)
	if !ok {
		return
	}
	switch k := v.Kind(); {
	case v.Type() == nodeType:
		v.Set(reflect.ValueOf(*n))
	case k == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, path, v.Elem())
	case v.Addr().Type().Implements(textType):
		d.scalar(n, path, v)
	case k == reflect.Struct:
		d.mapping(n, path, v)
	case k == reflect.Map:
		d.table(n, path, v)
	case k == reflect.Slice:
		d.list(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

// table fills a map from any keys.
func (d *decoder) table(n *yaml.Node, path string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.entries(n, path) {
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, e.path, one)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), one)
	}
}

// list fills a slice; its elements have the paths key[0], key[1], ...
func (d *decoder) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "want a list such as [a, b], not %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.Content)))
	for i, c := range n.Content {
		one := reflect.New(v.Type().Elem()).Elem()
		p := fmt.Sprintf("%s[%d]", path, i)
		d.keys[p], d.values[p] = c, c
		d.value(c, p, one)
		v.Set(reflect.Append(v, one))
	}
}

// all returns what was found, in the order of the file, and how much more
// there is.
func (d *decoder) all() Errors {
	all := d.errs.sorted()
	if d.more > 0 {
		text := fmt.Sprintf("and %d mistakes more: correct these first", d.more)
		all = append(all, Error{File: d.file, Text: text})
	}
	return all
}
