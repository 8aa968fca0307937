package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

var (
	linkTo  = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	codeFor = regexp.MustCompile("`((?:build|cmd|config|docs|examples|queue|sensors|uplink|\\.ci)/[A-Za-z0-9_./]+)`")
)

// checkedPages are the pages for users, except CHANGELOG.md, which describes earlier trees.
func checkedPages(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, pattern := range []string{"*.md", filepath.Join("docs", "*.md")} {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil || len(files) < 4 {
			t.Fatalf("%q %v", files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[file] = string(text)
		}
	}
	delete(all, filepath.Join("..", "..", "CHANGELOG.md"))
	return all
}

func TestPagesAreWrapped(t *testing.T) {
	for page, text := range checkedPages(t) {
		if markdown.Wrap(text) != text {
			t.Errorf("%s: a line of prose has more than %d columns, or is broken before it has them", page,
				markdown.Columns)
		}
	}
}

// TestPathsInThePagesExist checks what a page refers to in the tree: links, and paths in
// backquotes that start with one of our folders.
func TestPathsInThePagesExist(t *testing.T) {
	for page, text := range checkedPages(t) {
		for _, m := range linkTo.FindAllStringSubmatch(text, -1) {
			exists(t, page, filepath.Join(filepath.Dir(page), m[1]))
		}
		for _, m := range codeFor.FindAllStringSubmatch(text, -1) {
			exists(t, page, filepath.Join("..", "..", strings.TrimRight(m[1], "./")))
		}
	}
}

func exists(t *testing.T, page, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s: %v", filepath.Base(page), err)
	}
}
