package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A label is the display name of a node, a sensor or a place, in any script. It is only
// shown: identifiers come from keys and from client_id.
type label string

// maxLabel is the maximum number of characters. Home Assistant's cards and the status page
// show some 30 of them.
const maxLabel = 64

// UnmarshalText accepts 1 to 64 printable characters on one line, with any blanks between
// them. Joiners (U+200C, U+200D) are accepted, because words in some scripts and emoji need
// them; characters that change the text direction are not.
func (l *label) UnmarshalText(text []byte) error {
	name := string(text)
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("is empty: write a name, or leave the key out")
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("%q begins or ends with a blank: remove it", name)
	case utf8.RuneCountInString(name) > maxLabel:
		return fmt.Errorf("has %d characters: at most %d are allowed", utf8.RuneCountInString(name), maxLabel)
	}
	for _, c := range name {
		if !unicode.IsPrint(c) && !unicode.Is(unicode.Zs, c) && c != '\u200c' && c != '\u200d' {
			return fmt.Errorf("has the character U+%04X, which is not shown: remove it", c)
		}
	}
	*l = label(name)
	return nil
}

// streamKeys are the keys of one quantity's stream. The identifier alone may be used
// instead: {humidity: hum} is {humidity: {stream: hum}}.
type streamKeys struct {
	Stream *string `yaml:"stream"` // another identifier; nil: the default
	Name   label   `yaml:"name"`   // display name
	Area   label   `yaml:"area"`   // the place, if it differs from that of the sensor

	at string // the path of the identifier
}

// streamKeys decodes the key streams of a stanza, by quantity.
func (r *sensorReader) streamKeys(path string, nodes map[string]yaml.Node) map[string]streamKeys {
	all := map[string]streamKeys{}
	for quantity, n := range nodes {
		k := streamKeys{at: join(path, "streams."+quantity)}
		if n.Kind == yaml.MappingNode {
			r.mapping(&n, k.at, reflect.ValueOf(&k).Elem())
			k.at = join(k.at, "stream")
		} else {
			r.value(&n, k.at, reflect.ValueOf(&k.Stream).Elem())
		}
		if r.bad[k.at] {
			k.Stream = nil
		}
		all[quantity] = k
	}
	return all
}

// labels are the display name and the area of a quantity's stream: those of the stream, or
// else those of the sensor. If the sensor has several quantities its name is extended by
// the quantity.
func (s stanza) labels(quantity string, several bool) (title, area string) {
	own := s.streams[quantity]
	title, area = string(s.Name), string(s.Area)
	if title != "" && several {
		title += " " + strings.ReplaceAll(quantity, "_", " ")
	}
	if own.Name != "" {
		title = string(own.Name)
	}
	if own.Area != "" {
		area = string(own.Area)
	}
	return title, area
}
