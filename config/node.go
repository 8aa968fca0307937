package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// resolve returns the node that an alias refers to.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// isNull reports whether a key has no value: nothing, ~ or null.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plainTags are the tags that YAML gives to values without a tag. Other tags were written
// by the user, for the types of another program.
var plainTags = []string{"!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!null", "!!merge"}

// follow resolves n. ok is false if a file may not contain such a node, or if the file is
// too large.
func (d *decoder) follow(n *yaml.Node, path string) (*yaml.Node, bool) {
	n = resolve(n)
	if !slices.Contains(plainTags, n.Tag) {
		d.fail(n, path, "tags are not supported: quote a value that begins with !")
		return n, false
	}
	return n, d.spend(n)
}

const tooMany = "the file has too many values, with its aliases written out: the limit is %d"

// describe names the type of n for an error, without its text, which may be a secret.
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
