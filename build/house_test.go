// Package build has the scripts and programs that build, package and test holdfast.
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

// upstream lists which of our packages a package may import. Readings flow from sensors to
// queue to uplink, and imports go in the opposite direction: every other import is an
// error.
var upstream = map[string][]string{
	"cmd/holdfast/control": {"cmd/holdfast/status", "queue"},
	"cmd/holdfast/setup":   {"config"},
	"cmd/holdfast/doctor": {"cmd/holdfast/status", "config", "uplink/mqtt", "queue", "sensors", "sensors/access",
		"sensors/arming", "sensors/clock", "sensors/drivers", "sensors/drivers/gpio", "sensors/drivers/host",
		"sensors/drivers/output", "sensors/drivers/sysfs"},
	"cmd/holdfast/status": {"queue", "sensors", "sensors/arming", "sensors/clock", "sensors/outputs", "uplink"},
	"cmd/holdfast/page":   {"cmd/holdfast/control", "cmd/holdfast/status", "cmd/web", "config", "sensors/arming"},
	"cmd/web":             {"config"}, // shared by the pages of both programs

	"sensors/clock":    {},
	"sensors":          {"sensors/clock"},
	"sensors/debounce": {"sensors/clock"},
	"sensors/serial":   {},
	"sensors/slowhash": {},
	"sensors/outputs":  {"sensors", "sensors/clock", "sensors/serial"},
	"sensors/access":   {"sensors", "sensors/clock", "sensors/outputs", "sensors/slowhash"},
	"sensors/arming":   {"sensors", "sensors/clock", "sensors/slowhash"},
	"sensors/rules":    {"sensors", "sensors/clock", "sensors/arming", "sensors/outputs", "sensors/serial"},
	"sensors/drivers/output": {"sensors/outputs", "sensors/drivers", "sensors/drivers/gpio", "sensors/drivers/host",
		"sensors/drivers/i2c", "sensors/drivers/lines"},
	"sensors/drivers": {"sensors", "sensors/clock", "sensors/debounce", "sensors/drivers/driver",
		"sensors/drivers/gpio", "sensors/drivers/host", "sensors/drivers/i2c", "sensors/drivers/lines",
		"sensors/drivers/modbus", "sensors/drivers/sysfs"},
	"sensors/drivers/driver": {"sensors", "sensors/drivers/gpio", "sensors/drivers/host", "sensors/drivers/i2c",
		"sensors/drivers/kernel", "sensors/drivers/modbus"},
	"sensors/drivers/sysfs":       {"sensors", "sensors/drivers/driver", "sensors/drivers/host", "sensors/drivers/kernel"},
	"sensors/drivers/gpio":        {"sensors/drivers/host"},
	"sensors/drivers/host":        {},
	"sensors/drivers/i2c":         {"sensors", "sensors/drivers/gpio", "sensors/drivers/host"},
	"sensors/drivers/i2c/i2cfake": {}, // for tests
	"sensors/drivers/kernel":      {"sensors", "sensors/drivers/host"},
	"sensors/drivers/lines":       {"sensors", "sensors/drivers/host"},
	"sensors/scan": {"sensors/drivers", "sensors/drivers/gpio", "sensors/drivers/host", "sensors/drivers/i2c",
		"sensors/drivers/kernel", "sensors/drivers/sysfs"},
	"sensors/drivers/modbus":            {"sensors", "sensors/drivers/host"},
	"sensors/drivers/modbus/modbusfake": {}, // for tests

	"queue":       {"queue/pages", "sensors", "sensors/clock"},
	"queue/pages": {},
	"uplink": {"queue", "sensors", "sensors/clock", "uplink/command", "uplink/homeassistant", "uplink/mqtt",
		"uplink/payload"},
	"uplink/command":       {"sensors", "sensors/clock"},
	"uplink/homeassistant": {"sensors", "uplink/payload"},
	"uplink/mqtt":          {"sensors/clock", "uplink/mdns", "uplink/mqtt/mqtt5"},
	"uplink/mqtt/mqtt5":    {},
	"uplink/mqtttest":      {}, // for tests
	"uplink/payload":       {"queue", "sensors", "sensors/clock"},
	"uplink/mdns":          {},
	"uplink/network":       {},
	"config": {"uplink", "uplink/homeassistant", "uplink/mqtt", "uplink/payload", "queue", "sensors", "sensors/access",
		"sensors/clock", "sensors/drivers", "sensors/drivers/output", "sensors/outputs", "sensors/arming",
		"sensors/rules"},
	// The recorder is a separate program: nothing of the agent imports it.
	"cmd/recorder": {"cmd/printable", "cmd/recorder/homeassistant", "cmd/recorder/ingest", "cmd/recorder/page",
		"cmd/recorder/store",
		"cmd/recorder/jetstream", "cmd/recorder/subscribe",
		"cmd/recorder/message", "config"},
	"cmd/recorder/ingest": {"cmd/recorder/jetstream", "cmd/recorder/message", "cmd/recorder/store",
		"cmd/recorder/subscribe"},
	"cmd/recorder/homeassistant":      {"cmd/recorder/store"},
	"cmd/recorder/jetstream":          {"cmd/recorder/subscribe", "uplink/mqtt"},
	"cmd/recorder/message":            {},
	"cmd/recorder/page":               {"cmd/recorder/store", "cmd/web", "config"},
	"cmd/recorder/store":              {"cmd/recorder/message"},
	"cmd/recorder/store/postgrestest": {}, // for tests
	"cmd/recorder/subscribe":          {"uplink/mqtt"},

	"cmd/holdfast/broker": {},
	"cmd/holdfast/cable":  {},
	"cmd/holdfast/demo": {"cmd/holdfast/broker", "cmd/holdfast/cable", "config", "uplink", "sensors",
		"sensors/clock", "sensors/drivers"},
	"cmd/holdfast/scan":    {"config", "sensors/drivers", "sensors/drivers/i2c", "sensors/scan"},
	"cmd/holdfast/systemd": {},
	"cmd/holdfast/update":  {"cmd/holdfast/status"},
	"cmd/printable":        {},
	"cmd/holdfast": {"cmd/printable", "cmd/holdfast/broker", "cmd/holdfast/control", "cmd/holdfast/demo",
		"cmd/holdfast/doctor", "cmd/holdfast/page", "cmd/holdfast/scan", "cmd/holdfast/setup", "cmd/holdfast/systemd",
		"cmd/holdfast/update", "cmd/holdfast/status", "config", "uplink", "uplink/network",
		"uplink/command", "uplink/payload",
		"queue", "sensors", "sensors/access", "sensors/clock", "sensors/drivers", "sensors/drivers/output",
		"sensors/outputs",
		"sensors/arming", "sensors/rules"},
}

// thirdParty lists which packages may import a third-party module, so that it can be
// replaced in one place.
var thirdParty = map[string]string{
	"periph.io/":             "sensors/drivers/gpio sensors/drivers/i2c sensors/drivers/i2c/i2cfake",
	"github.com/warthog618/": "sensors/drivers/gpio",
	"golang.org/x/sys/": "cmd/holdfast/setup sensors/clock sensors/drivers/gpio " +
		"sensors/drivers/lines sensors/drivers/modbus sensors/drivers/modbus/modbusfake sensors/drivers/sysfs " +
		"uplink/mqtt cmd/holdfast/systemd",
	"go.etcd.io/bbolt":              "queue",
	"github.com/eclipse/paho":       "uplink/mqtt uplink/mqtt/mqtt5",
	"github.com/gorilla/":           "uplink/mqtt cmd/recorder/homeassistant", // comes with paho, which hides the socket
	"go.yaml.in/yaml":               "config",
	"github.com/simonvetter/modbus": "sensors/drivers/modbus",
	"github.com/mochi-mqtt/":        "cmd/holdfast/broker",
	"github.com/coreos/go-systemd/": "cmd/holdfast/systemd",
	"modernc.org/":                  "cmd/recorder/store",
	"github.com/jackc/":             "cmd/recorder/store cmd/recorder/store/postgrestest",
	"github.com/pressly/":           "cmd/recorder/store",
	"github.com/nats-io/":           "cmd/recorder/jetstream",
	"golang.org/x/sync/errgroup":    "cmd/holdfast",
}

// TestImportsFollowTheLayers reads the sources itself. The cache of `go test` does not
// track files that `go list` reads, so an old result would be reused after they changed.
func TestImportsFollowTheLayers(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, "../")))
		if strings.HasPrefix(pkg, "build") {
			return nil // tools and tests, which may import everything
		}
		known, ok := upstream[pkg]
		if !ok {
			t.Errorf("%s is a package that this test does not know: say what it may import", pkg)
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			checkImport(t, pkg, known, strings.Trim(i.Path.Value, `"`))
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files read: %v", files, err)
	}
}

func checkImport(t *testing.T, pkg string, known []string, path string) {
	t.Helper()
	if other, ours := strings.CutPrefix(path, module); ours {
		if !slices.Contains(known, other) {
			t.Errorf("%s imports %s, which is not upstream of it", pkg, other)
		}
		return
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return // the standard library
	}
	for prefix, owner := range thirdParty {
		if strings.HasPrefix(path, prefix) {
			if !slices.Contains(strings.Fields(owner), pkg) {
				t.Errorf("%s imports %s, which belongs to %s alone", pkg, path, owner)
			}
			return
		}
	}
	t.Errorf("%s imports %s: say which package that module belongs to", pkg, path)
}

// TestAgentDoesNotImportTheRecorder: the agent runs on a Pi Zero, and must not contain a
// database. The test above covers direct imports; this one covers all packages that
// cmd/holdfast may import.
func TestAgentDoesNotImportTheRecorder(t *testing.T) {
	seen := map[string]bool{}
	var walk func(pkg string)
	walk = func(pkg string) {
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		if strings.HasPrefix(pkg, "cmd/recorder") {
			t.Errorf("the agent imports %s", pkg)
		}
		for _, module := range []string{"modernc.org/", "github.com/jackc/", "github.com/pressly/", "github.com/nats-io/"} {
			if slices.Contains(strings.Fields(thirdParty[module]), pkg) {
				t.Errorf("%s, which is a part of the agent, may import %s", pkg, module)
			}
		}
		for _, other := range upstream[pkg] {
			walk(other)
		}
	}
	walk("cmd/holdfast")
	if len(seen) < 10 {
		t.Errorf("only %d packages are known of the agent", len(seen))
	}
	for pkg, imports := range upstream {
		if strings.HasPrefix(pkg, "cmd/recorder") && slices.Contains(imports, "queue") {
			t.Errorf("%s imports the queue, which is the agent's", pkg)
		}
	}
}
