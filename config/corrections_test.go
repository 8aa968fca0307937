package config

import (
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

func TestCorrectionsAreParsed(t *testing.T) {
	cfg, err := Parse("f", []byte(`
client_id: porch
mqtt: {server: mqtt://b}
sensors:
  tank: {kind: lines, command: [/bin/level], offset: -0.4, scale: 1.02, precision: 1}
  attic: {kind: bh1750, i2c: "1", every: 30s, median: 5}
  room:
    kind: bme280
    i2c: "1"
    offset: {temperature: -0.4, pressure: 2}
    calibrate: {humidity: [{reads: 74.2, is: 75.5}, {reads: 33.9, is: 33.1}]}
    precision: {temperature: 1, humidity: 0}
  level: {kind: ads1115, i2c: "1", input: A0, quantity: level, unit: m, scale: 2, offset: -1}
  probe: {kind: ads1115, i2c: "1", input: A1, calibrate: [{reads: 0.5, is: 0}, {reads: 2, is: 3}, {reads: 2.5, is: 5}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]sensors.Filter{
		"tank":  {Correction: sensors.Correction{Scale: 1.02, Offset: -0.4}, Precision: new(1)},
		"attic": {Median: 5},
		"room_humidity": {Correction: sensors.Correction{Points: []sensors.Point{{Reads: 33.9, Is: 33.1},
			{Reads: 74.2, Is: 75.5}}}, Precision: new(0)},
		"room_temperature": {Correction: sensors.Correction{Offset: -0.4}, Precision: new(1)},
		"room_pressure":    {Correction: sensors.Correction{Offset: 2}},
		"level":            {}, // the kind's own scale and offset must not be applied twice
		"probe": {Correction: sensors.Correction{Points: []sensors.Point{{Reads: 0.5, Is: 0}, {Reads: 2, Is: 3},
			{Reads: 2.5, Is: 5}}}},
	}
	got := map[string]sensors.Filter{}
	for _, st := range cfg.Uplink.Streams {
		got[st.Name] = st.Filter
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if every := cfg.Sensors[1].Every; every != 6*time.Second {
		t.Errorf("the attic is measured every %v, want 6s", every)
	}
}
