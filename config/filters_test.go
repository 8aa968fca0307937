package config

import (
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

func TestFilterKeysAreParsed(t *testing.T) {
	got := must(t, `
mqtt: {server: mqtt://b}
sensors:
  freezer: {kind: probe, every: 30s, average: 5, report: {change: 0.3, at_least: 10m},
    valid: {min: -60, max: 60, jump: 5}, alarm: {above: -15, clear: -17, for: 5m}}
  room: {kind: room, i2c: 1, streams: {temperature: temp}, alarm: {temperature: {below: 5}},
    valid: {humidity: {min: 1}}, report: {at_least: 1h}}
  door: {kind: door, gpio: 1, report: {at_least: 1h}, alarm: true}
`)
	alarm := func(stream, kind, quantity string) sensors.Stream {
		return sensors.Stream{Name: stream, Kind: kind, Every: 30 * time.Second, Priority: sensors.Alarm,
			Quantity: sensors.Quantity{Name: quantity, Class: "problem", States: []string{"ok", "alarm"}}}
	}
	freezer := sensors.Filter{
		Valid:   sensors.Valid{Min: new(-60.0), Max: new(60.0), Jump: 5},
		Average: 5,
		Report:  sensors.Report{Change: 0.3, AtLeast: 10 * time.Minute},
		Alarm: &sensors.Limit{At: -15, Clear: -17, For: 5 * time.Minute,
			Stream: alarm("freezer_alarm", "probe", "level_alarm")},
	}
	hourly := sensors.Report{AtLeast: time.Hour}
	filter := map[string]sensors.Filter{}
	var names []string
	for _, s := range got.Uplink.Streams {
		names = append(names, s.Name+" "+s.Priority.String())
		filter[s.Name] = s.Filter
	}
	for _, c := range []struct{ what, got, want any }{
		{"streams", names, []string{"freezer routine", "freezer_alarm alarm", "temp routine", "temp_alarm alarm",
			"room_humidity routine", "door alarm"}},
		{"freezer", filter["freezer"], freezer},
		{"temp", filter["temp"], sensors.Filter{Report: hourly,
			Alarm: &sensors.Limit{At: 5, Below: true, Clear: 5,
				Stream: alarm("temp_alarm", "room", "temperature_alarm")}}},
		{"humidity", filter["room_humidity"], sensors.Filter{Report: hourly, Valid: sensors.Valid{Min: new(1.0)}}},
		{"door", filter["door"], sensors.Filter{Report: hourly}},
		{"alarms", filter["freezer_alarm"], sensors.Filter{}},
		{"time between samples", got.Sensors[0].Every, 6 * time.Second},
		{"time between readings", got.Sensors[0].Streams[0].Every, 30 * time.Second},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.what, c.got, c.want)
		}
	}
}
