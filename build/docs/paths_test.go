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

// pagesToHold are the pages for people, but CHANGELOG.md, which tells of trees of
// the past.
func pagesToHold(t *testing.T) map[string]string {
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
	for page, text := range pagesToHold(t) {
		if markdown.Wrap(text) != text {
			t.Errorf("%s: a line of prose has more than %d columns, or is broken before it has them", page,
				markdown.Columns)
		}
	}
}

// TestPathsInThePagesExist holds what a page says about the tree: a link, and
// a path in backquotes that begins with one of our folders.
func TestPathsInThePagesExist(t *testing.T) {
	for page, text := range pagesToHold(t) {
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
