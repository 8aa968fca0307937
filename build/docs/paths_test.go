package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	linkTo  = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	codeFor = regexp.MustCompile("`((?:build|cmd|config|docs|examples|queue|sensors|uplink|\\.ci)/[A-Za-z0-9_./]+)`")
)

// TestPathsInThePagesExist holds what a page says about the tree: a link, and
// a path in backquotes that begins with one of our folders.
func TestPathsInThePagesExist(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "*.md"))
	more, err2 := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || err2 != nil || len(pages) < 4 || len(more) < 4 {
		t.Fatalf("%q %q %v %v", pages, more, err, err2)
	}
	for _, page := range append(pages, more...) {
		if filepath.Base(page) == "CHANGELOG.md" {
			continue // tells of trees of the past
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linkTo.FindAllStringSubmatch(string(text), -1) {
			exists(t, page, filepath.Join(filepath.Dir(page), m[1]))
		}
		for _, m := range codeFor.FindAllStringSubmatch(string(text), -1) {
			exists(t, page, filepath.Join(root, strings.TrimRight(m[1], "./")))
		}
	}
}

func exists(t *testing.T, page, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s: %v", filepath.Base(page), err)
	}
}
