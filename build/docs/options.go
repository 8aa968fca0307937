package main

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// An option is one key of a kind's stanza.
type option struct{ key, kind, preset, doc string }

// optionsOf are the keys of a kind, as package config reads them: the yaml tags of its
// fields, including those of embedded structs. A key without a comment is an error.
func (c comments) optionsOf(kind string, o drivers.Options) ([]option, error) {
	all := c.fields(reflect.ValueOf(o).Elem(), "")
	for i := range all {
		if all[i].doc == "" {
			return nil, fmt.Errorf("kind %s: its option %s has no comment: say above its field "+
				"in sensors/drivers what it is",
				kind, all[i].key)
		}
		if addresses := drivers.Addresses(kind); all[i].key == "address" && len(addresses) > 0 {
			all[i].kind, all[i].preset = addressText(addresses), fmt.Sprintf("0x%02x", addresses[0])
		}
	}
	return all, nil
}

func addressText(addresses []uint16) string {
	if last := len(addresses) - 1; last > 3 && int(addresses[last]-addresses[0]) == last {
		return fmt.Sprintf("0x%02x to 0x%02x", addresses[0], addresses[last])
	}
	all := make([]string, len(addresses))
	for i, a := range addresses {
		all[i] = fmt.Sprintf("0x%02x", a)
	}
	return strings.Join(all, ", ")
}

func (c comments) fields(v reflect.Value, under string) (all []option) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, tagged := f.Tag.Lookup("yaml")
		key, opts, _ := strings.Cut(tag, ",")
		switch {
		case f.Type.Kind() == reflect.Struct && key == "" && (f.Anonymous || opts == "inline"):
			all = append(all, c.fields(v.Field(i), under)...)
		case tagged && key != "" && key != "-" && f.IsExported():
			o := option{under + key, typeText(f.Type), presetText(v.Field(i)), c[v.Type().Name()+"."+f.Name]}
			all = append(all, o)
			all = append(all, c.nested(f.Type, o.key)...)
		}
	}
	return all
}

// nested are the keys of an option that is a mapping, if they have comments; otherwise the
// comment of the mapping describes them.
func (c comments) nested(t reflect.Type, key string) (all []option) {
	if t = deref(t); !isMapping(t) {
		return nil
	}
	for _, o := range c.fields(reflect.New(t).Elem(), key+".") {
		if o.doc != "" {
			all = append(all, o)
		}
	}
	return all
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

func isMapping(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

// typeText describes what a user writes for a value of a type.
func typeText(t reflect.Type) string {
	switch t = deref(t); {
	case t == durationType:
		return "duration"
	case isText(t), t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Map, isMapping(t):
		return "keys and values"
	case t.Kind() == reflect.Float64, t.Kind() == reflect.Float32:
		return "number"
	}
	return "whole number"
}

// presetText is a default value as a user would write it; empty for none.
func presetText(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil() && !isMapping(v.Type().Elem()):
		return presetText(v.Elem())
	case v.Kind() == reflect.Bool:
		return fmt.Sprint(v.Bool())
	case v.IsZero(), v.Kind() == reflect.Pointer, isMapping(v.Type()):
		return ""
	case v.Type() == durationType:
		return clock.FormatDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Slice:
		all := make([]string, v.Len())
		for i := range all {
			all[i] = presetText(v.Index(i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}
