// Package examples holds configurations for real sites, each of which
// `holdfast check` takes without a warning.
package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

func TestEveryExampleIsTakenWithoutAWarning(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples, want six or more (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			cfg, err := config.Load(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range cfg.Warnings {
				if w.Text != cfg.Untrusted { // about the rights of the checkout, not about the example
					t.Error(w)
				}
			}
			if cfg.Uplink.ClientID == "" || len(cfg.Sensors) < 3 {
				t.Errorf("client ID %q and %d sensors: not the configuration of a site", cfg.Uplink.ClientID,
					len(cfg.Sensors))
			}
		})
	}
}

// TestREADMEHasEveryKind: a stranger looks there for the part that lies on the table.
func TestREADMEHasEveryKind(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range drivers.Kinds() {
		if !strings.Contains(string(text), "`"+kind+"`") {
			t.Errorf("README.md does not have the kind %s", kind)
		}
	}
}

// TestTheConfigurationInREADMEIsTaken loads what a stranger copies first.
func TestTheConfigurationInREADMEIsTaken(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```yaml\n")
	block, _, ended := strings.Cut(block, "```\n")
	if !found || !ended {
		t.Fatal("README.md has no configuration")
	}
	if cfg, err := config.Parse("README.md", []byte(block)); err != nil || len(cfg.Warnings) > 0 {
		t.Errorf("%v %v", err, cfg.Warnings)
	}
}
