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

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plainTags are those that YAML gives to what has none.
var plainTags = []string{"!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!null", "!!merge"}

// follow resolves n, if it is something that a file may hold and there is
// still room for it.
func (d *decoder) follow(n *yaml.Node, path string) (*yaml.Node, bool) {
	n = resolve(n)
	if !slices.Contains(plainTags, n.Tag) {
		d.fail(n, path, "no tag is taken: a value that begins with ! stands in quotes")
		return n, false
	}
	return n, d.spend(n)
}

const tooMany = "the file has too many values, with its aliases written out: %d is the most"

// spend counts one value. It bounds the work that a few lines of aliases of
// aliases can make, and ends the walk through an alias that contains itself.
// When it has come to its end, that is the only mistake.
func (d *decoder) spend(n *yaml.Node) bool {
	if d.left--; d.left == 0 {
		d.errs, d.more = nil, 0
		d.fail(n, "", tooMany, maxValues)
		d.left = -1
	}
	return d.left > 0
}

// describe names what is at n without repeating it: it may be a secret.
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
