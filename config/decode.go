package config

import (
	"encoding"
	"fmt"
	"reflect"
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
type decoder struct{ problems }

// join is the path of a key below another.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// The types that value treats apart from their kinds.
var (
	nodeType     = reflect.TypeFor[yaml.Node]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value fills v from a node, whatever type v has: a yaml.Node takes it as it is, a
// pointer is made, a type that unmarshals text gets the text, and the rest goes by
// its kind. A mistake is reported and leaves v as it was, or in part.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) {
	n, ok := d.follow(n, path)
	if !ok {
		return
	}
	// A type that unmarshals text comes before its kind: a fileName is a string, too.
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

// table fills a map from any keys. The keys are not checked here.
func (d *decoder) table(n *yaml.Node, path string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.entries(n, path) {
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, e.path, one)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), one)
	}
}

// list fills a slice; its elements have the paths key[0], key[1], ... A single value
// is rejected where a list belongs: whether it is one element or a mistake cannot be
// known.
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
