package recipes

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestPagesShowTheFilesThatAreRun: the tests take their files from the pages, so a block
// that loses its name would no longer be run.
func TestPagesShowTheFilesThatAreRun(t *testing.T) {
	for page, want := range map[string]string{
		"telegraf.md": "influxdb.conf input.conf postgresql.conf schema.sql victoriametrics.conf",
		"nodered.md":  "message.js start.js",
		"emqx.md":     "insert.sql rule.sql",
		"python.md":   "django_record.py schema.sql sqlalchemy_record.py tutorial.py",
	} {
		files, err := Blocks(page)
		if err != nil {
			t.Error(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(files)), " "); got != want {
			t.Errorf("%s shows %q, want %q", page, got, want)
		}
		for name, text := range files {
			if strings.Contains(text, "```") || text == "" {
				t.Errorf("%s: %s is cut wrongly:\n%s", page, name, text)
			}
		}
	}
}

func TestAddressesAreReplaced(t *testing.T) {
	got, err := at("to 1.1.1.1:1, from b", "1.1.1.1:1", "2:2", "from b", "from c")
	if err != nil || got != "to 2:2, from c" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := at("to a", "b", "c"); err == nil {
		t.Error("an address that is not there is no error")
	}
}
