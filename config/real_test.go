package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// The real kinds, with the example files of the documents.
func TestExamplesAreValid(t *testing.T) {
	for name, want := range map[string][]string{
		"smallest": {"door contact 0s routine", "humidity_humidity aht20 30s routine",
			"humidity_temperature aht20 30s routine"},
		"kernel": {"freezer w1 30s alarm", "attic_humidity dht 1m0s routine", "attic_temperature dht 1m0s routine",
			"cellar_temperature iio 30s routine", "air iio 30s routine", "loop iio 30s routine",
			"soc thermal 1m0s routine",
			"board_undervoltage pi 1m0s routine", "board_throttled pi 1m0s routine", "board_disk_free pi 1m0s routine",
			"board_uptime pi 1m0s routine",
			"tank lines 0s routine", "spring lines 30s routine", "pump_flow lines 0s routine",
			"pump_running lines 0s routine"},
		"modbus": {"meter_energy modbus 10s routine", "meter_power modbus 10s routine", "meter_voltage modbus 10s routine",
			"boiler modbus 1m0s routine", "pump_flow modbus 10s routine", "pump_running modbus 10s routine"},
		"parts": {"roof_temperature bmp390 30s routine", "roof_pressure bmp390 30s routine",
			"desk veml7700 1m0s routine", "office_equivalent_co2 sgp30 1s routine", "office_tvoc sgp30 1s routine",
			"kitchen sgp40 30s routine", "boiler max31865 30s routine", "battery_supply ds2438 30s routine",
			"battery_voltage ds2438 30s routine", "battery_temperature ds2438 30s routine",
			"battery_current ds2438 30s routine", "gate pcf8574 0s alarm"},
		"larger": {"front_door contact 0s alarm", "hall contact 0s routine",
			"hum bme280 30s routine", "temp bme280 30s routine", "room_pressure bme280 30s routine",
			"freezer w1 30s routine", "freezer_alarm w1 30s alarm", "cpu hwmon 1m0s routine", "tank lines 0s routine",
			"fake simulated 1s routine", "gate simulated 0s alarm", "load simulated 1ms routine"},
	} {
		cfg, err := Load(t.Context(), "testdata/good/"+name+".yaml")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, spec := range cfg.Sensors {
			for _, s := range spec.AllStreams() {
				got = append(got, fmt.Sprint(s.Name, " ", s.Kind, " ", spec.Every, " ", s.Priority))
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, want)
		}
	}
}

func TestFourMistakesAreFourErrors(t *testing.T) {
	_, err := Parse("/etc/holdfast/config.yaml", []byte(`client_id: porch
mqtt: {server: mqtts://broker.example.com}
queue: {max_size: 64MB}
sensors:
  door:
    kind: contact
    gpio: GPIO17
    debounse: 50ms
  back:
    kind: contact
    gpio: GPIO99
    pull: up
    pull: down
`))
	lines := strings.Split(fmt.Sprint(err), "\n")
	want := []string{
		`/etc/holdfast/config.yaml:3:19: queue.max_size: "64MB": unknown unit "MB"; known are B, KiB, MiB, GiB ` +
			`(MB means two things)`,
		`/etc/holdfast/config.yaml:8:5: sensors.door: unknown key "debounse" (did you mean "debounce"?)`,
		`/etc/holdfast/config.yaml:11:11: sensors.back.gpio: "GPIO99" is not a valid pin: the SoC has GPIO0 to GPIO53`,
		`/etc/holdfast/config.yaml:13:5: sensors.back: key "pull" is repeated: it is already on line 12`,
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// An error inside a group is reported once, and the check of the group adds none.
func TestErrorIsReportedOnce(t *testing.T) {
	for stanza, want := range map[string]string{
		"kind: simulated, wave: {quantity: q, period: 5}": `sensors.x.wave.period: "5" needs a unit: ms, s, m, h, d`,
		"kind: simulated, waev: {quantity: q}":            `sensors.x: unknown key "waev" (did you mean "wave"?)`,
		"kind: simulated, counter: {a: 1}": `sensors.x.counter: unknown key "a": no keys are ` +
			`allowed here`,
		"kind: simulated":         `sensors.x: needs one of wave, steps and counter, and has 0`,
		"kind: contact, gpoi: 17": `sensors.x: unknown key "gpoi" (did you mean "gpio"?)`,
		"kind: contact, gpio: 17, every: 1s": `sensors.x.every: a contact reports by itself when something ` +
			`happens: leave this out`,
	} {
		_, err := Parse("f", []byte("client_id: c\nmqtt: {server: mqtt://b}\nsensors: {x: {"+stanza+"}}"))
		if got := fmt.Sprint(err); strings.Contains(got, "\n") || !strings.HasSuffix(got, ": "+want) {
			t.Errorf("%s: got %s", stanza, got)
		}
	}
}

func TestTwoSensorsWithOneDeviceAreAnError(t *testing.T) {
	_, err := Parse("f", []byte(`client_id: c
mqtt: {server: mqtt://b}
sensors:
  a: {kind: contact, gpio: pin11}
  b: {kind: contact, gpio: 17}
  c: {kind: bme280, i2c: 1, address: 0x76}
  d: {kind: bme280, i2c: "1", address: 118}
  e: {kind: bme280, i2c: 1, address: 0x77}
`))
	want := "f:5:3: sensors.b: GPIO17 belongs to sensors.a already (line 4)\n" +
		"f:7:3: sensors.d: i2c-1 0x76 belongs to sensors.c already (line 6)"
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestOneBusHasOneSetting: instruments on one line differ only in their unit_id.
func TestOneBusHasOneSetting(t *testing.T) {
	_, err := Parse("f", []byte(`client_id: c
mqtt: {server: mqtt://b}
sensors:
  a: {kind: modbus, device: /dev/ttyUSB0, registers: {v: {address: 0}}}
  b: {kind: modbus, device: /dev/ttyUSB0, unit_id: 2, registers: {v: {address: 0}}}
  c: {kind: modbus, device: /dev/./ttyUSB0, serial: 19200 8E1, registers: {v: {address: 0}}}
  d: {kind: modbus, host: meter, registers: {v: {address: 0}}}
  e: {kind: modbus, host: "meter:502", timeout: 2s, registers: {v: {address: 0}}}
  f: {kind: modbus, host: "meter:503", timeout: 2s, registers: {v: {address: 0}}}
`))
	want := "f:6:3: sensors.c: /dev/ttyUSB0 has serial: 19200 8E1, timeout: 1s here and serial: 9600 8N1, timeout: 1s " +
		"in sensors.a (line 4): write the same in both\n" +
		"f:8:3: sensors.e: meter:502 has timeout: 2s here and timeout: 1s in sensors.d (line 7): write the same in both"
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// One converter with four inputs: resistors and voltages in their notations.
func TestInputsOfOneConverterAreValid(t *testing.T) {
	const head = "client_id: c\nmqtt: {server: mqtt://b}\nsensors:\n"
	const good = `  zone1: {kind: ads1115, input: A0, loop: {pull_up: 1k, end_of_line: 1k, contact: 1k}, alarm: true}
  zone2: {kind: ads1115, input: A1, loop: {bands: {short: 300mV, closed: 1.2V, open: 2.4V}, debounce: 300ms}}
  tank:  {kind: ads1115, input: A2, range: 4.096V, scale: 40, offset: -20, quantity: level, unit: "%"}
  sun:   {kind: ina219, shunt: R100, max_current: 2}
`
	cfg, err := Parse("f", []byte(head+good))
	if err != nil || len(cfg.Sensors) != 4 || cfg.Sensors[0].Every != 0 || cfg.Sensors[2].Every == 0 {
		t.Errorf("got %+v, %v", cfg.Sensors, err)
	}
	for stanza, want := range map[string]string{
		"kind: ads1115, input: A1": `sensors.x: i2c-1 0x48 A1 belongs to sensors.zone2 already (line 5)`,
		"kind: tmp102":             `sensors.x: i2c-1 0x48 belongs to sensors.tank already (line 6)`,
		"kind: ads1115, input: A3, range: 4": `sensors.x.range: "4" is not a voltage: write it with its unit, as ` +
			`in 3.3V or 250mV`,
		"kind: ads1115, input: A3, loop: {pull_up: 1k, contact: 1k}": `sensors.x.loop.end_of_line: is missing: ` +
			`the resistor at the end of the cable, as in 1k`,
		"kind: ads1115, input: A3, loop: {end_of_lin: 1k}": `sensors.x.loop: unknown key "end_of_lin" ` +
			`(did you mean "end_of_line"?)`,
		"kind: ads1115, input: A3, loop: {bands: {short: 1V, closed: 2V}}": `sensors.x.loop.bands: short 1V, closed ` +
			`2V and open 0V have to rise, from above 0V to below the supply of 3.3V`,
	} {
		_, err := Parse("f", []byte(head+good+"  x: {"+stanza+"}\n"))
		if got := fmt.Sprint(err); !strings.HasSuffix(got, ": "+want) {
			t.Errorf("%s: got %s", stanza, got)
		}
	}
}

func TestAllErrorsOfOneKeyAreReported(t *testing.T) {
	_, err := Parse("f",
		[]byte("mqtt: {server: mqtt://b}\nsensors: {x: {kind: hwmon, name: n, inputs: [a1, temp2, temp2]}}"))
	if n := strings.Count(fmt.Sprint(err), "sensors.x.inputs: "); n != 2 {
		t.Errorf("got %d: %v", n, err)
	}
}

func TestEveryOptionOfEveryKindCanBeFilled(t *testing.T) {
	for _, kind := range drivers.Kinds() {
		opts, _ := drivers.New(kind)
		known := map[string][]reflect.Value{}
		fields(reflect.ValueOf(opts).Elem(), known)
		for key := range known {
			for _, value := range []string{"1", "[1]", "{a: 1}", "", "{}"} {
				// Parse panics if the decoder does not know the type.
				Parse("f", fmt.Appendf(nil, "sensors: {x: {kind: %s, %s: %s}}", kind, key, value))
			}
		}
	}
}

// Inputs of a converter cannot belong to another part, whichever comes first.
func TestConverterInputOfAnotherPartIsRefused(t *testing.T) {
	text := "client_id: c\nmqtt: {server: mqtt://b}\nsensors:\n  a: {kind: tmp102}\n  b: {kind: ads1115, input: A0}\n"
	want := "f:5:3: sensors.b: i2c-1 0x48 A0 belongs to sensors.a already (line 4)"
	if _, err := Parse("f", []byte(text)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for _, line := range []string{"line:My Front Door", "GPIO17", "i2c-1 0x48"} {
		if got := drivers.ParentClaim(line); got != "" {
			t.Errorf("%s is a part of %s", line, got)
		}
	}
}
