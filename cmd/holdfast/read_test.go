package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
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

func TestCheckPrintsCounts(t *testing.T) {
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

// The sources of a derived stream are read even if they are not requested, and corrected
// values are shown.
func TestReadComputesDerivedStreams(t *testing.T) {
	cfg, err := config.Parse("porch", []byte(`
client_id: porch
mqtt: {server: embedded}
sensors:
  twice: {kind: derived, sum: [both, b], scale: 2}
  both: {kind: derived, sum: [a, b], precision: 1}
  a: {kind: simulated, counter: {}, offset: 0.25}
  b: {kind: simulated, counter: {}, calibrate: [{reads: 0, is: 10}, {reads: 10, is: 20}]}
  speed: {kind: derived, rate: {of: a, per: hour}}
  dew: {kind: derived, dew_point: {temperature: hot, humidity: wet}}
  hot: {kind: simulated, wave: {quantity: temperature, unit: "°C", mean: 95, swing: 0, period: 1h}}
  wet: {kind: simulated, wave: {quantity: humidity, unit: "%", mean: 50, swing: 0, period: 1h}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names     []string
		want, err string
	}{
		{[]string{"both"}, "both 12.3\n", ""},
		{[]string{"twice"}, "twice 46.5\n", ""},
		{[]string{"a", "b"}, "a 1.25\nb 11\n", ""},
		{[]string{"speed"}, "", ""},
		{[]string{"dew"}, "", "hot is 95 °C"},
	} {
		specs, err := choose(cfg, c.names)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		readings := newReadings(cfg.Sensors, drivers.NewHardware().Open)
		before := stdout
		stdout = &out
		for _, spec := range specs {
			err = errors.Join(err, readings.read(t.Context(), spec, true))
		}
		stdout = before
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: %v, want %q", c.names, err, c.err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != strings.Join(strings.Fields(c.want), " ") {
			t.Errorf("%v: printed %q, want %q", c.names, got, c.want)
		}
	}
}
