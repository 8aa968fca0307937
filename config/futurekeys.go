package config

import (
	"path"
	"slices"
	"strings"
)

// futureKeys are the keys that the documents promise and this version does not
// have, by the pattern of the path they stand under. A person who writes one
// has made no spelling mistake. Take a key off when it is built.
var futureKeys = map[string][]string{
	"":          {"payload", "plain"},
	"sensors.*": {"payload", "plain"},
}

// futureKey reports whether a key under a path is for another version.
func futureKey(under, key string) bool {
	for pattern, keys := range futureKeys {
		ok, _ := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(under, ".", "/"))
		if ok && slices.Contains(keys, key) {
			return true
		}
	}
	return false
}
