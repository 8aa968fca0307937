package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/doctor"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

const root = "../.."

func TestGeneratedPagesAreUpToDate(t *testing.T) {
	for page, text := range pages {
		want, err := text(root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(root, page))
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the code gives (%v): run go run ./build/docs", page, err)
		}
	}
}

// A default that is written by hand is true if a file with it gives the same configuration
// as a file without it.
func TestDefaultsOfTheConfigurationAreTrue(t *testing.T) {
	const least = "client_id: porch\nmqtt: {server: mqtts://broker.example.com}\nsensors: {door: {kind: contact, " +
		"gpio: GPIO17}}\n"
	want, err := config.Parse("f.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse("f.yaml", []byte(least+`queue:
  {path: /var/lib/holdfast/queue.db, max_size: 64MiB, sync_every: 5s}
drain: {rate: auto, window: 20}
topics: {reading: "{client_id}/{stream}", state: "{client_id}/{stream}/state"}
home_assistant: {discovery: false, prefix: homeassistant}
clock: {trust: auto}
`))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, want)
	}
}

func TestEveryKindAndOptionIsOnThePage(t *testing.T) {
	text, err := sensorsPage(root)
	docs, err2 := kindComments(root)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, kind := range drivers.Kinds() {
		_, after, found := strings.Cut(text, "\n### "+kind+"\n")
		if !found {
			t.Errorf("no section for %s", kind)
			continue
		}
		part, _, _ := strings.Cut(after, "\n### ")
		o, _ := drivers.New(kind)
		about := drivers.Describe(kind)
		wants := []string{about.Source, about.Part[1:]}
		for _, q := range o.Quantities() {
			wants = append(wants, "| `"+q.Name+"` |")
		}
		all, _ := docs.optionsOf(kind, o)
		for _, opt := range all {
			wants = append(wants, "| `"+opt.key+"` |")
		}
		for _, want := range wants {
			if !strings.Contains(words(part), words(want)) {
				t.Errorf("%s: no %q in\n%s", kind, want, part)
			}
		}
	}
}

// TestEveryFaultOfTheDoctorIsOnItsPage: each fault is in the section of its check.
func TestEveryFaultOfTheDoctorIsOnItsPage(t *testing.T) {
	text, err := doctorPage(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range doctor.Checks() {
		_, after, found := strings.Cut(text, "\n## "+c.Name+"\n")
		part, _, _ := strings.Cut(after, "\n## ")
		if !found || strings.Contains(words(part), "*at the start*") != c.AtStart {
			t.Errorf("%s: no section, or not when it runs:\n%s", c.Name, part)
		}
		for _, f := range c.Faults {
			if !strings.Contains(part, "| "+cell(f.What)+" | "+cell(f.Mend)+" |") {
				t.Errorf("%s: no row for %q", c.Name, f.What)
			}
		}
	}
}

// words is a text independent of its line breaks.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// strange has options of every form.
type strange struct {
	base
	// a
	Long time.Duration `yaml:"long"`
	// b
	Number *float64 `yaml:"number"`
	// c
	Words []string `yaml:"words"`
	// d
	On bool `yaml:"on"`
	// e
	Deep *deep `yaml:"deep"`
	// f
	Pin  gpio.Pin `yaml:"pin"`
	none int
	None int
}

type base struct {
	// g
	I2C i2c.Bus `yaml:"i2c"`
}

type deep struct {
	// h
	Told   int `yaml:"told"`
	Untold int `yaml:"untold"`
}

func (*strange) Check() []drivers.Problem       { return nil }
func (*strange) Pace() time.Duration            { return 0 }
func (*strange) Quantities() []sensors.Quantity { return nil }
func (*strange) Open(context.Context, *drivers.Hardware) (sensors.Sensor, error) {
	return nil, nil
}

func TestOptionsAreThoseThatTheConfigurationTakes(t *testing.T) {
	half := 0.5
	docs, err := readComments(".")
	if err != nil {
		t.Fatal(err)
	}
	got, err := docs.optionsOf("strange", &strange{
		base: base{2}, Long: 90 * time.Second, Number: &half, Words: []string{"a", "b"}, On: true, none: 1,
	})
	want := []option{
		{"i2c", "text", "i2c-2", "g"},
		{"long", "duration", "1m30s", "a"},
		{"number", "number", "0.5", "b"},
		{"words", "list", "[a, b]", "c"},
		{"on", "true or false", "true", "d"},
		{"deep", "keys and values", "", "e"},
		{"deep.told", "whole number", "", "h"},
		{"pin", "text", "", "f"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%q", err, got)
	}
}

type undocumented struct {
	strange
	Secret int `yaml:"secret"`
}

func TestOptionWithoutACommentIsAnError(t *testing.T) {
	docs, err := readComments(".")
	if err != nil {
		t.Fatal(err)
	}
	_, err = docs.optionsOf("undocumented", &undocumented{})
	if err == nil || !strings.Contains(err.Error(), "its option secret has no comment") {
		t.Error(err)
	}
}

func TestAddressesAreAListOrARange(t *testing.T) {
	for want, all := range map[string][]uint16{
		"0x38":         {0x38},
		"0x76, 0x77":   {0x76, 0x77},
		"0x40 to 0x45": {0x40, 0x41, 0x42, 0x43, 0x44, 0x45},
	} {
		if got := addressText(all); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
