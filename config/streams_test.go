package config

import (
	"reflect"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

// TestStreamsOfSensorsAreInTheList, except for one with an alarm; they equal those in the
// list.
func TestStreamsOfSensorsAreInTheList(t *testing.T) {
	cfg, err := Parse("config.yaml", []byte(`
client_id: porch
mqtt: {server: "mqtt://127.0.0.1"}
sensors:
  one: {kind: simulated, every: 1s, counter: {}}
  two: {kind: simulated, every: 1s, counter: {}, alarm: {above: 10}}
  three: {kind: simulated, every: 1s, counter: {}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var want []sensors.Stream
	for _, s := range cfg.Sensors {
		want = append(want, s.AllStreams()...)
		if n := s.StreamCount(); n != len(s.AllStreams()) {
			t.Errorf("%s: %d streams, want %d", s.Name, n, len(s.AllStreams()))
		}
	}
	all := cfg.Uplink.Streams
	if len(all) != 4 || !reflect.DeepEqual(all, want) {
		t.Errorf("%+v, want %+v", all, want)
	}
	for i, place := range map[int]int{0: 0, 2: 3} {
		if s := cfg.Sensors[i]; &s.Streams[0] != &all[place] || cap(s.Streams) != 1 {
			t.Errorf("%s has streams of its own", s.Name)
		}
	}
}
