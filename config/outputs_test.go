package config

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// outputStream is the stream of an output.
func outputStream(name, class string) sensors.Stream {
	return sensors.Stream{Name: name, Kind: "output", Priority: sensors.Alarm,
		Quantity: sensors.Quantity{Name: "output", Class: class, States: []string{"off", "on"}}}
}

// TestOutputsAreParsed has every key once.
func TestOutputsAreParsed(t *testing.T) {
	cfg, err := Parse("f", []byte(`
client_id: porch
mqtt: {server: mqtt://b}
sensors:
  aux: {kind: contact, gpio: GPIO17}
  hall: {kind: mcp23017, pin: A4}
outputs:
  siren: {gpio: GPIO22, active: low, class: siren, max_on: 3m, rest: 1m}
  pump:
    {kind: simulated, max_on: never, commands: true, confirm: {stream: aux, is: open}, link_lost: {after: 10m, then: off}}
  gate: {mcp23017: 0x20, pin: A3, pulse: 500ms, interlock: [siren]}
  lock: {pcf8574: 0x21, i2c: 3, pin: P7, safe: on, max_on: 10s}
  bell: {command: [/bin/bell, -q], max_on: 1m}
`))
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.Commands {
		t.Error("an output's program does not count as a command: who may write the file has the agent's rights")
	}
	want := []outputs.Spec{
		{Stream: outputStream("siren", "siren"), MaxOn: 3 * time.Minute, Rest: time.Minute},
		{Stream: outputStream("pump", ""), Commands: true,
			Confirm:  &outputs.Confirm{Stream: "aux", Is: "open", Within: 3 * time.Second},
			LinkLost: &outputs.LinkLost{After: 10 * time.Minute}},
		{Stream: outputStream("gate", ""), MaxOn: 500 * time.Millisecond, Pulse: 500 * time.Millisecond,
			Interlock: []string{"siren"}},
		{Stream: outputStream("lock", ""), Safe: true, MaxOn: 10 * time.Second},
		{Stream: outputStream("bell", ""), MaxOn: time.Minute},
	}
	for i, got := range cfg.Outputs {
		line := got.Line
		if got.Line = nil; line == nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%+v with line %v, want %+v", got, line, want[i])
		}
	}
	var names []string
	for _, st := range cfg.Uplink.Streams {
		names = append(names, st.Name)
	}
	if !slices.Equal(names, []string{"aux", "hall", "siren", "pump", "gate", "lock", "bell"}) {
		t.Errorf("streams %v", names)
	}
}

func TestUnusedOutputIsAWarning(t *testing.T) {
	const file = `
mqtt: {server: mqtt://b}
sensors: {door: {kind: door, gpio: GPIO17}}
outputs:
  siren: {kind: simulated, max_on: 3m}
  pump:  {kind: simulated, max_on: 3m, commands: true}
  lamp:  {kind: simulated, max_on: 3m}
rules: {intruder: {when: {door: open}, then: {siren: 1m}}}
`
	const want = "f.yaml:7:3: outputs.lamp: nothing switches it: write a rule for it, or commands: true"
	if got := must(t, file).Warnings.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
