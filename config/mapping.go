package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An entry is one key of a mapping and its value. The value may still be an alias.
type entry struct {
	key   string     // as written
	path  string     // the key with the keys above it, "sensors.door"
	at    *yaml.Node // of the key, for its position
	value *yaml.Node
}

// entries returns the entries of a mapping in the order of the file. Every key has to be a
// plain word. A repeated key is reported and left out, and so is a merge key (<<), because
// its keys would come from another place than where a person reads them. A null has no
// entries: everything under the key may be commented out.
func (d *decoder) entries(n *yaml.Node, path string) []entry {
	n, ok := d.follow(n, path)
	if !ok || isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		if key := glued(n.Value); key != "" && n.Style == 0 {
			d.fail(n, path, noBlank, key+": ")
			return nil
		}
		d.fail(n, path, "want keys and values, not %s", describe(n))
		return nil
	}
	var list []entry
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content) && d.spend(n); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.errorAt(key, path, "a key has to be a plain word, not %s", describe(key))
		case key.Tag == "!!merge":
			d.errorAt(key, path, "merge keys (<<) are not supported: write the keys out")
		case first != nil:
			d.errorAt(key, path, "key %q is repeated: it is already on line %d", shownKey(key.Value), first.Line)
		default:
			e := entry{key.Value, join(path, key.Value), key, value}
			seen[e.key], d.keys[e.path], d.values[e.path] = key, key, value
			list = append(list, e)
		}
	}
	return list
}

// child returns the value of a key before the mapping is decoded; nil: there is none. It
// reports no mistakes: the decoder will.
func child(n *yaml.Node, key string) *yaml.Node {
	n = resolve(n)
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}

// mapping fills one or more structs, each with the keys that it has; a key that several
// structs have goes to all of them. It reports a key that no struct has. A sensor has two
// structs: the common keys of its stanza and the options of its kind.
func (d *decoder) mapping(n *yaml.Node, path string, targets ...reflect.Value) {
	d.fill(n, path, true, targets)
}

// part is mapping without reports of unknown keys: for a stanza whose kind is not known.
func (d *decoder) part(n *yaml.Node, path string, targets ...reflect.Value) {
	d.fill(n, path, false, targets)
}

// fill is mapping and part: with strict, a key that no target knows is reported.
func (d *decoder) fill(n *yaml.Node, path string, strict bool, targets []reflect.Value) {
	known := make(map[string][]reflect.Value, 24) // more than a stanza has: it need not grow
	for _, t := range targets {
		fields(t, known)
	}
	var names []string // what an error lists, the same each time; nil: there was no error yet
	for _, e := range d.entries(n, path) {
		into := known[e.key]
		if into == nil && strict {
			if names == nil {
				names = slices.Sorted(maps.Keys(known))
			}
			d.unknown(e, path, names)
		}
		for _, v := range into {
			if !d.bad[e.path] {
				d.value(e.value, e.path, v)
			}
		}
	}
}

// fields adds the fields of a struct to known, by their keys. It includes the fields of
// embedded structs and of those with the tag ",inline". Fields without a yaml tag are not
// part of the file.
func fields(v reflect.Value, known map[string][]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, tagged := f.Tag.Lookup("yaml")
		key, opts, _ := strings.Cut(tag, ",")
		switch {
		case f.Type.Kind() == reflect.Struct && key == "" && (f.Anonymous || opts == "inline"):
			fields(v.Field(i), known)
		case tagged && key != "" && key != "-" && f.IsExported():
			known[key] = append(known[key], v.Field(i))
		}
	}
}

// unknown reports a key that no target has, with the key that was probably meant, and
// suppresses the error that that key is missing.
func (d *decoder) unknown(e entry, path string, known []string) {
	if d.full() {
		return // saves the search for a suggestion
	}
	// A key that is present already was not meant: it would be a repeated key.
	absent := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return d.has(join(path, k)) })
	suggestion := similar(e.key, absent)
	word, _, _ := strings.Cut(e.key, " ")
	if key := glued(e.key); slices.Contains(known, key) {
		d.errorAt(e.at, path, noBlank, key+": ")
		d.suppress(join(path, key))
		return
	} else if word != e.key && slices.Contains(known, word) {
		d.errorAt(e.at, path, noColon, word+": ")
		d.suppress(join(path, word))
		return
	}
	switch {
	case shownKey(e.key) != e.key:
		d.errorAt(e.at, path, "unknown key %q: a colon and a space are needed between a key and its value",
			shownKey(e.key))
	case suggestion != "":
		d.errorAt(e.at, path, "unknown key %q (did you mean %q?)", e.key, suggestion)
		d.suppress(join(path, suggestion))
	case len(known) == 0:
		d.errorAt(e.at, path, "unknown key %q: no keys are allowed here", e.key)
	default:
		d.errorAt(e.at, path, "unknown key %q; known are %s", e.key, strings.Join(known, ", "))
	}
}

// shownKey returns a key for an error, without what may be its value and a secret
// ("password:s3cret").
func shownKey(key string) string {
	if i := strings.IndexAny(key, ":="); i >= 0 {
		return key[:i] + "..."
	}
	return key
}
