package markdown

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASectionIsReplacedAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	page := "# P\n\n<!-- begin a -->\nold\n<!-- end a -->\n\n<!-- begin b -->\nkept\n<!-- end b -->\nlast\n"
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the page has the result of the first
		if err := ReplaceSection(path, "a", "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	want := strings.Replace(page, "old\n", "\nnew\n\n", 1)
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
	for _, name := range []string{"c", "a -->\n<!-- begin b"} {
		if err := ReplaceSection(path, name, "x"); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("section %q: %v", name, err)
		}
	}
	if _, err := replaceSection("<!-- begin a -->\n", "a", "x"); err == nil {
		t.Error("a section without an end is replaced")
	}
}
