package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
)

// Every class of a meter, in each unit, is accepted and reaches Home Assistant: the total
// and the rate have classes that match their units.
func TestMeterClassesAreAccepted(t *testing.T) {
	for class, units := range map[string][]string{
		"precipitation": {"mm", "in"}, "water": {"L", "m³"}, "gas": {"L", "m³"}, "volume": {"L", "m³"},
		"energy": {"Wh", "kWh", "MWh"}, "reactive_energy": {"varh", "kvarh"},
	} {
		for _, unit := range units {
			text := fmt.Sprintf("client_id: c\nmqtt: {server: mqtt://b}\nhome_assistant: {discovery: true}\n"+
				"sensors: {m: {kind: pulse, gpio: 17, quantity: amount, class: %s, unit: %q}}", class, unit)
			cfg, err := Parse("f", []byte(text))
			if err != nil {
				t.Errorf("%s in %s: %v", class, unit, err)
				continue
			}
			total, rate := cfg.Uplink.Streams[0], cfg.Uplink.Streams[1]
			if total.Class != class || !total.Total || rate.Class == "" || rate.Class == class {
				t.Errorf("%s in %s: got %+v and %+v", class, unit, total, rate)
			}
			if problem := homeassistant.ClassProblem(total) + homeassistant.ClassProblem(rate); problem != "" ||
				len(cfg.Warnings) > 0 {
				t.Errorf("%s in %s: %s, %v", class, unit, problem, cfg.Warnings)
			}
		}
	}
}

// A quantity without a class gets the one of its name, but none that would cost it its unit or
// its statistics.
func TestAQuantityHasTheClassOfItsName(t *testing.T) {
	const wave = "kind: simulated, wave: {mean: 1, swing: 1, period: 1h, "
	for stanza, want := range map[string]string{
		wave + `quantity: humidity, unit: "%"}`:                                     "humidity",
		wave + `quantity: humidity, unit: "%"}, class: moisture`:                    "moisture",
		wave + `quantity: humidity, unit: "%"}, class: ""`:                          "",
		wave + `quantity: humidity, unit: g}`:                                       "",
		wave + `quantity: energy, unit: kWh}`:                                       "",
		wave + `quantity: level, unit: "%"}`:                                        "",
		`kind: lines, file: /run/t, quantity: temperature, unit: °C`:                "temperature",
		`kind: lines, file: /run/t, quantity: power, states: [off, "on"]`:           "",
		`kind: simulated, counter: {}`:                                              "",
		`kind: lines, file: /run/t, quantities: {humidity: {unit: "%"}}`:            "humidity",
		`kind: lines, file: /run/t, quantities: {humidity: {unit: "%", class: ""}}`: "",
		`kind: modbus, host: 10.0.0.1, registers: {humidity: {address: 1, unit: "%", class: ""}, ` +
			`temperature: {address: 2, unit: °C}}`: "",
	} {
		cfg, err := Parse("f", []byte("client_id: c\nmqtt: {server: mqtt://b}\nsensors: {s: {"+stanza+"}}"))
		if err != nil {
			t.Errorf("%s: %v", stanza, err)
		} else if got := cfg.Uplink.Streams[0].Class; got != want {
			t.Errorf("%s: got the class %q, want %q", stanza, got, want)
		}
	}
}

func TestClassErrorHasItsPosition(t *testing.T) {
	cfg, err := Parse("f", []byte(`client_id: c
mqtt: {server: mqtt://b}
home_assistant: {discovery: true}
sensors:
  tank:
    kind: lines
    file: /run/tank
    quantities:
      level: {unit: m, class: distance}
      flow: {unit: L/min, class: flow}
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `f:10:34: sensors.tank.quantities.flow.class: Home Assistant has no class "flow" for a number`
	if len(cfg.Warnings) != 1 || !strings.HasPrefix(cfg.Warnings[0].Error(), want) {
		t.Errorf("got %v, want %s", cfg.Warnings, want)
	}
}

// The suggestion for a size without a unit is valid.
func TestSuggestedSizeIsValid(t *testing.T) {
	for _, number := range []string{"1", "0.2", "64", "256", "99999", "100000", "1048576", "67108864", "1000000000",
		"1099511627776"} {
		_, err := parse("f", []byte("mqtt: {server: mqtt://b}\nqueue: {max_size: "+number+"}"+oneDoor), testCatalog)
		_, suggestion, found := strings.Cut(fmt.Sprint(err), "such as ")
		if !found {
			t.Errorf("%s: got %v", number, err)
			continue
		}
		if _, err := parse("f", []byte("mqtt: {server: mqtt://b}\nqueue: {max_size: "+suggestion+"}"+oneDoor),
			testCatalog); err != nil {
			t.Errorf("%s suggests %s: %v", number, suggestion, err)
		}
	}
}

// TestDriversAndHomeAssistantHaveTheSameClasses compares the existing lists of classes: a
// contact accepts only Home Assistant's classes, and Home Assistant accepts the default
// classes of all kinds with their units. The others are checked by
// homeassistant.ClassProblem.
func TestDriversAndHomeAssistantHaveTheSameClasses(t *testing.T) {
	const file = "client_id: c\nmqtt: {server: mqtt://b}\nsensors: {d: {kind: contact, gpio: 17, class: nothing}}"
	_, err := Parse("f", []byte(file))
	_, ours, found := strings.Cut(fmt.Sprint(err), "Home Assistant knows ")
	two := sensors.Stream{Quantity: sensors.Quantity{Class: "nothing", States: []string{"a", "b"}}}
	_, theirs, has := strings.Cut(homeassistant.ClassProblem(two), "; it has ")
	if !found || !has || ours != theirs || strings.Count(ours, ", ") < 20 {
		t.Errorf("a contact takes %q\nHome Assistant has %q", ours, theirs)
	}
	for class := range strings.SplitSeq(ours, ", ") {
		cfg, err := Parse("f", []byte(strings.Replace(file, "nothing", class, 1)))
		if err != nil || homeassistant.ClassProblem(cfg.Uplink.Streams[0]) != "" {
			t.Errorf("%s: %v", class, err)
		}
	}
	for _, kind := range drivers.Kinds() {
		opts, _ := drivers.New(kind)
		for _, q := range opts.Quantities() {
			if problem := homeassistant.ClassProblem(sensors.Stream{Quantity: q}); problem != "" {
				t.Errorf("%s: %s", kind, problem)
			}
		}
	}
}
