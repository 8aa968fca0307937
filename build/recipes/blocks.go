// Package recipes runs the recipes of docs/recipes with the real programs. It takes each
// configuration and program from the text of the page, so that users copy exactly what was
// tested.
//
//	build/recipes/run
package recipes

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// block matches a fenced block whose first line is a comment with a file name.
var block = regexp.MustCompile("(?ms)^```[a-z]*\n(?:#|--|//) ([a-z0-9_-]+\\.[a-z]+)\n(.*?)^```$")

// Blocks returns the files that a page of docs/recipes shows, by name.
func Blocks(page string) (map[string]string, error) {
	text, err := os.ReadFile("../../docs/recipes/" + page)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, found := range block.FindAllStringSubmatch(string(text), -1) {
		if _, twice := files[found[1]]; twice {
			return nil, fmt.Errorf("%s shows %s twice", page, found[1])
		}
		files[found[1]] = found[2]
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s shows no file", page)
	}
	return files, nil
}

// at replaces the addresses in a page by those of a test. Each of them has to be in the
// text.
func at(text string, pairs ...string) (string, error) {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			return "", fmt.Errorf("%q is not in the page", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(text), nil
}
