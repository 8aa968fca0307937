package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

func TestDerivedStreamsTakeUnitAndClassFromTheirSources(t *testing.T) {
	cfg, err := Parse("f", []byte(`
client_id: porch
mqtt: {server: mqtt://b}
home_assistant: {discovery: true}
sensors:
  margin: {kind: derived, difference: [wall, dew], alarm: {below: 2}, report: {at_least: 2m}, name: "Margin"}
  dew: {kind: derived, dew_point: {temperature: room_temperature, humidity: hum}, precision: 1}
  room: {kind: aht20, i2c: "1", every: 30s, streams: {humidity: hum}}
  wall: {kind: lm75, i2c: "1", every: 1m}
  water: {kind: derived, absolute_humidity: {temperature: room_temperature, humidity: hum}, class: absolute_humidity}
  power: {kind: derived, rate: {of: meter_energy, per: hour}}
  speed: {kind: derived, rate: {of: drops, per: minute}}
  flow: {kind: derived, rate: {of: tap_water, per: second}}
  change: {kind: derived, rate: {of: wall, per: hour}, streams: {rate: trend}}
  both: {kind: derived, sum: [meter_energy, other_energy]}
  apart: {kind: derived, difference: [meter_energy, other_energy], alarm: true}
  meter: {kind: pulse, gpio: GPIO5, quantity: energy, unit: kWh, class: energy}
  other: {kind: pulse, gpio: GPIO6, quantity: energy, unit: kWh, class: energy}
  tap: {kind: pulse, gpio: GPIO13, quantity: water, unit: L, class: water}
  drops: {kind: lines, file: /run/drops}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("warnings: %v", cfg.Warnings)
	}
	var order []string
	got := map[string]string{}
	for _, spec := range cfg.Sensors {
		order = append(order, spec.Name)
		if spec.Derived == nil {
			continue
		}
		st := spec.Streams[0]
		got[st.Name] = fmt.Sprintf("%s %q %q total %t, %v of %v every %v and %v",
			st.Quantity.Name, st.Unit, st.Class, st.Total,
			st.Priority, spec.Derived.Sources, st.Every, spec.Every)
	}
	if got, want := strings.Join(order, " "), "margin dew room wall water power speed flow change both apart meter other "+
		"tap drops"; got != want {
		t.Errorf("in the order %s, want %s", got, want)
	}
	want := map[string]string{
		"margin": `difference "°C" "temperature_delta" total false, routine of [{wall 1m0s false} {dew 30s false}] ` +
			`every 1m0s and 0s`,
		"dew": `dew_point "°C" "temperature" total false, routine of [{room_temperature 30s false} {hum 30s false}] ` +
			`every 30s and 0s`,
		"water": `absolute_humidity "g/m³" "absolute_humidity" total false, routine of [{room_temperature 30s false} ` +
			`{hum 30s false}] every 30s and 0s`,
		"power": `rate "kW" "power" total false, routine of [{meter_energy 0s true}] every 0s and 0s`,
		"speed": `rate "1/min" "" total false, routine of [{drops 0s false}] every 0s and 0s`,
		"flow":  `rate "L/s" "volume_flow_rate" total false, routine of [{tap_water 0s true}] every 0s and 0s`,
		"trend": `rate "°C/h" "" total false, routine of [{wall 1m0s false}] every 1m0s and 0s`,
		"both": `sum "kWh" "energy" total true, routine of [{meter_energy 0s true} {other_energy 0s true}] ` +
			`every 0s and 0s`,
		"apart": `difference "kWh" "energy" total false, alarm of [{meter_energy 0s true} {other_energy 0s true}] ` +
			`every 0s and 0s`,
	}
	if !reflect.DeepEqual(got, want) {
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s: got  %s\nwant %s", name, got[name], want[name])
			}
		}
	}
	margin := cfg.Sensors[0].Streams[0]
	if margin.Filter.Alarm == nil || margin.Filter.Report != (sensors.Report{AtLeast: 2 * time.Minute}) ||
		margin.Title != "Margin" {
		t.Errorf("margin: %+v", margin)
	}
}

// An error in a source is reported once: the derived stream does not repeat it.
func TestSourceErrorIsReportedOnce(t *testing.T) {
	for _, text := range []string{
		"a: {kind: lm75, i2c: 1, adress: 0x48}\n  b: {kind: derived, sum: [a, c]}\n  c: {kind: lm75, i2c: 2}",
		"a: {kind: derived, rate: {of: b, per: day}}\n  c: {kind: derived, rate: {of: a, per: hour}}\n" +
			"  b: {kind: lm75, i2c: 2}",
		"a: {kind: derived, difference: [b, c]}\n  b: {kind: derived, difference: [a, c]}\n  c: {kind: lm75, i2c: 2}\n" +
			"  d: {kind: derived, difference: [a, c]}",
	} {
		_, err := Parse("f", []byte("client_id: c\nmqtt: {server: mqtt://b}\nsensors:\n  "+text+"\n"))
		if all, ok := err.(Errors); !ok || len(all) != 1 {
			t.Errorf("%s\ngot %v, want one mistake", text, err)
		}
	}
}
