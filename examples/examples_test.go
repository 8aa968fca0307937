// Package examples holds configurations for real sites, each of which
// `holdfast check` takes without a warning.
package examples

import (
	"path/filepath"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
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
				t.Errorf("client ID %q and %d sensors: not the configuration of a site", cfg.Uplink.ClientID, len(cfg.Sensors))
			}
		})
	}
}
