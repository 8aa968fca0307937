package config

import (
	"encoding"
	"fmt"
	"reflect"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxValues is the maximum number of values in a file with all aliases expanded: a hundred
// times as many as the largest site needs, and a second of work for a Pi Zero.
const maxValues = 100_000

// A decoder fills structs from YAML and collects all errors with their positions. The keys
// of a struct are the yaml tags of its fields; a field without a tag has no key, and an
// embedded struct or one with the tag ",inline" adds its own keys.
//
// A scalar is decoded from its text: quotes and YAML's types are ignored, and the type of
// the field decides what is valid. An absent key does not change the field; a key without a
// value is an error, unless it is a mapping.
type decoder struct{ problems }

// join is the path of a key below another path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// The types that value handles separately from their kinds.
var (
	nodeType     = reflect.TypeFor[yaml.Node]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value fills v from a node. A yaml.Node is copied, a pointer is allocated, a type that
// unmarshals text gets the text, and other types are handled by their kind. An error is
// reported and leaves v unchanged, or partly changed.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) {
	n, ok := d.follow(n, path)
	if !ok {
		return
	}
	// A type that unmarshals text comes before its kind: a fileName is a string too.
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

// table fills a map with any keys. It does not check the keys.
func (d *decoder) table(n *yaml.Node, path string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.entries(n, path) {
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, e.path, one)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), one)
	}
}

// list fills a slice; its elements have the paths key[0], key[1], ... A single value is
// rejected, because it may be one element or an error.
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
