// Package build holds how the house is shipped and proven.
package build

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/holdfast-iot/holdfast/"

// upstream says which rooms a room may know. A reading only ever moves right,
// and imports point against it.
var upstream = map[string][]string{
	"sensors/clock":         {},
	"sensors":               {"sensors/clock"},
	"sensors/debounce":      {},
	"sensors/drivers":       {"sensors", "sensors/clock", "sensors/debounce", "sensors/drivers/host", "sensors/drivers/lines"},
	"sensors/drivers/lines": {"sensors", "sensors/drivers/host"},
	"sensors/drivers/host":  {},
	"queue":                 {"queue/pages", "sensors", "sensors/clock"},
	"queue/pages":           {},
	"uplink":                {"queue", "sensors", "sensors/clock", "uplink/mdns"},
	"uplink/mdns":           {},
	"config":                {"uplink", "queue", "sensors", "sensors/clock", "sensors/drivers"},
	"cmd/holdfast/broker":   {},
	"cmd/holdfast/cable":    {},
	"cmd/holdfast/control":  {"queue"},
	"cmd/holdfast/demo":     {"cmd/holdfast/broker", "cmd/holdfast/cable", "config", "uplink", "sensors", "sensors/clock", "sensors/drivers"},
	"cmd/holdfast/scan":     {"config", "sensors/drivers"},
	"cmd/holdfast":          {"cmd/holdfast/broker", "cmd/holdfast/control", "cmd/holdfast/demo", "cmd/holdfast/scan", "config", "uplink", "queue", "sensors", "sensors/clock", "sensors/drivers"},
}

// thirdParty says which rooms a module belongs to.
var thirdParty = map[string]string{
	"periph.io/":                 "sensors/drivers",
	"github.com/warthog618/":     "sensors/drivers",
	"golang.org/x/sys/":          "sensors/drivers sensors/drivers/lines uplink",
	"go.etcd.io/bbolt":           "queue",
	"github.com/eclipse/paho":    "uplink",
	"github.com/gorilla/":        "uplink", // comes with paho, which hides the socket
	"go.yaml.in/yaml":            "config",
	"github.com/mochi-mqtt/":     "cmd/holdfast/broker",
	"golang.org/x/sync/errgroup": "cmd/holdfast",
}

// TestImportsPointAgainstTheFlow reads the sources itself: what `go list` reads
// is unknown to the cache of `go test`, which then repeats an old answer.
func TestImportsPointAgainstTheFlow(t *testing.T) {
	rooms := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		room := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, "../")))
		if strings.HasPrefix(room, "build") {
			return nil // proves the house, and is not part of it
		}
		known, ok := upstream[room]
		if !ok {
			t.Errorf("%s is a room that this test does not know: say what it may import", room)
		}
		rooms++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			checkImport(t, room, known, strings.Trim(i.Path.Value, `"`))
		}
		return nil
	})
	if err != nil || rooms == 0 {
		t.Fatalf("%d files read: %v", rooms, err)
	}
}

func checkImport(t *testing.T, room string, known []string, path string) {
	t.Helper()
	if other, ours := strings.CutPrefix(path, module); ours {
		if !slices.Contains(known, other) {
			t.Errorf("%s imports %s, which is not upstream of it", room, other)
		}
		return
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return // the standard library
	}
	for prefix, owner := range thirdParty {
		if strings.HasPrefix(path, prefix) {
			if !slices.Contains(strings.Fields(owner), room) {
				t.Errorf("%s imports %s, which belongs to %s alone", room, path, owner)
			}
			return
		}
	}
	t.Errorf("%s imports %s: say to which room that module belongs", room, path)
}
