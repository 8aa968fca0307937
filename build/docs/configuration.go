package main

import (
	_ "embed"
	"fmt"
	"reflect"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
	"github.com/holdfast-iot/holdfast/config"
)

//go:embed configpreamble.md
var configPreamble string

// A configSection is one table of docs/configuration.md: the keys under a path.
type configSection struct {
	path, title string
	intro       string
	keys        []configKey
	after       string // text below the table
}

// A configKey is one row. Its type and default come from its struct in package config,
// unless they are given here: for keys whose struct differs from what a user writes.
type configKey struct{ key, doc, kind, preset string }

// configurationPage is docs/configuration.md. Each key of the structs must be in a section,
// and each row must be such a key.
func configurationPage(string) (string, error) {
	known := configKeys()
	var out strings.Builder
	out.WriteString(configPreamble)
	for _, s := range configSections {
		fmt.Fprintf(&out, "\n## %s\n\n", s.title)
		if s.intro != "" {
			out.WriteString(s.intro + "\n\n")
		}
		out.WriteString("| key | type | default | |\n|---|---|---|---|\n")
		for _, k := range s.keys {
			path := strings.TrimPrefix(s.path+"."+k.key, ".")
			o, ok := known[path]
			if !ok {
				return "", fmt.Errorf("build/docs documents %s, which is no key of the configuration", path)
			}
			delete(known, path)
			if k.kind != "" {
				o.kind = k.kind
			}
			if k.preset == "" {
				k.preset = code(o.preset)
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", k.key, o.kind, k.preset, cell(k.doc))
		}
		if s.after != "" {
			out.WriteString("\n" + s.after + "\n")
		}
	}
	for path := range known {
		return "", fmt.Errorf("the configuration takes %s: say in build/docs/configkeys.go what it is", path)
	}
	return markdown.Wrap(out.String()), nil
}

// configKeys are all keys of the configuration by path, except those that only contain
// other keys.
func configKeys() map[string]option {
	all := map[string]option{}
	for path, keys := range config.Keys() {
		addKeys(all, reflect.ValueOf(keys).Elem(), path)
	}
	delete(all, "sensors")
	delete(all, "outputs")
	delete(all, "access")
	delete(all, "rules")
	return all
}

func addKeys(all map[string]option, v reflect.Value, under string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		path := strings.TrimPrefix(under+"."+key, ".")
		switch {
		case f.Anonymous && key == "":
			addKeys(all, v.Field(i), under)
		case key == "":
		case isMapping(f.Type) && f.Type.Name() != "Node":
			addKeys(all, v.Field(i), path)
		default:
			all[path] = option{key: path, kind: typeText(f.Type), preset: presetText(v.Field(i))}
		}
	}
}
