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

// A label is what people call a node, a sensor or a place, in any script. It is shown and
// compared with nothing: identifiers are made of keys and of client_id.
type label string

// maxLabel is how many characters a label may have. Home Assistant's cards and the status
// page show some 30 of them.
const maxLabel = 64

// UnmarshalText accepts 1 to 64 characters that can be printed, on one line, with blanks
// of any kind between them. Joiners (U+200C, U+200D) are parts of words in some scripts, and
// of emoji; characters that turn the direction of the text are not accepted.
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

// streamKeys are what a stanza says of the stream of one quantity. The identifier alone
// may stand in their place: {humidity: hum} is {humidity: {stream: hum}}.
type streamKeys struct {
	Stream *string `yaml:"stream"` // another identifier; nil: the usual one
	Name   label   `yaml:"name"`   // what people call it
	Area   label   `yaml:"area"`   // where it is, if that is not where the sensor is

	at string // the path of the identifier
}

// streamKeys decodes what stands under streams in a stanza, by quantity.
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

// labels are what people call the stream of a quantity, and where it is: what is written
// for the stream, or else for the sensor. With several quantities the sensor's name says
// what it measures, too.
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
