package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// resolve is the node that an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// isNull reports whether a key has no value: nothing, ~ or null.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plainTags are those that YAML gives to what has no tag of its own. Any other was
// written by the person, and stands for a type of another program.
var plainTags = []string{"!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!null", "!!merge"}

// follow resolves n, if it is something that a file may hold and there is
// still room for it.
func (d *decoder) follow(n *yaml.Node, path string) (*yaml.Node, bool) {
	n = resolve(n)
	if !slices.Contains(plainTags, n.Tag) {
		d.fail(n, path, "tags are not supported: quote a value that begins with !")
		return n, false
	}
	return n, d.spend(n)
}

const tooMany = "the file has too many values, with its aliases written out: the limit is %d"

// describe names what is at n for an error, without repeating it: it may be a
// secret.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "nothing"
	}
	return "a single value"
}
