package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
)

// alarmFile has a sensor, an output, a rule and a panel.
const alarmFile = `
client_id: porch
mqtt: {server: embedded}
sensors: {door: {kind: contact, gpio: GPIO17}}
outputs: {siren: {gpio: GPIO5, class: siren, max_on: 3m}}
rules: {intruder: {when: {door: open}, then: {siren: 1m}}}
arming: {exit: 30s}
`

func TestReadLeavesOutputsAlone(t *testing.T) {
	cfg, err := config.Parse("porch", []byte(alarmFile))
	if err != nil {
		t.Fatal(err)
	}
	var usage usageError
	_, err = choose(cfg, []string{"door", "siren"})
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "see holdfast outputs") {
		t.Errorf("read siren: %v", err)
	}
	if _, err = choose(cfg, []string{"sirene"}); err == nil || !strings.Contains(err.Error(), "which has door") {
		t.Errorf("read sirene: %v", err)
	}
	if all, err := choose(cfg, nil); err != nil || len(all) != 1 {
		t.Errorf("read: %v, %v", all, err)
	}
}

func TestCheckCountsWhatThereIs(t *testing.T) {
	cfg, err := config.Parse("porch", []byte(alarmFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := countText(cfg), "1 sensor, 3 streams, 1 output, 1 rule, an alarm panel"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	cfg.Outputs, cfg.Rules, cfg.Arming = nil, nil, nil
	if got, want := countText(cfg), "1 sensor, 3 streams"; got != want {
		t.Errorf("without outputs: got %q, want %q", got, want)
	}
}
