package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/access"
)

func TestDoorIsParsed(t *testing.T) {
	cfg, err := Parse("f", []byte(`
client_id: porch
mqtt: {server: mqtt://b}
sensors:
  card: {kind: lines, file: /run/card, quantity: number, alarm: true}
outputs:
  lock: {kind: simulated, max_on: 10s, commands: true}
  gate: {kind: simulated, pulse: 1s, commands: true}
  siren: {kind: simulated, max_on: 3m}
access:
  front: {reader: card, output: lock, open: 5s, valid_for: 20s, answer_within: 0s, allow_file: /etc/holdfast/cards}
  back:  {reader: card, output: gate, allow_file: /etc/holdfast/cards}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []access.Spec{
		{Name: "front", Reader: "card", Output: "lock", Open: 5 * time.Second, ValidFor: 20 * time.Second,
			AllowFile: "/etc/holdfast/cards"},
		{Name: "back", Reader: "card", Output: "gate", ValidFor: 10 * time.Second, Within: 2 * time.Second,
			AllowFile: "/etc/holdfast/cards"},
	}
	if !reflect.DeepEqual(cfg.Access, want) {
		t.Errorf("%+v, want %+v", cfg.Access, want)
	}
	if c := cfg.Uplink.Commands; !slices.Equal(c.Outputs, []string{"lock", "gate"}) ||
		!slices.Equal(c.Asking, []string{"lock", "gate"}) {
		t.Errorf("orders %+v", c)
	}
}

func TestCardReaderIsAnAlarmStreamOfNumbers(t *testing.T) {
	for _, c := range []struct{ sensor, want string }{
		{"{kind: lines, file: /run/card}", `access.front.reader: "card" is not an alarm: add alarm: true to sensors.card`},
		{"{kind: lines, file: /run/card, states: [a, b], alarm: true}", `"card" has words`},
		{"{kind: lines, file: /run/card, alarm: true, report: {change: 1}}", `"card" has average, median or report`},
		{"{kind: lines, file: /run/card, alarm: true, offset: 1}", `a card's number has to stay as it is`},
	} {
		_, err := Parse("f", []byte("client_id: porch\nmqtt: {server: mqtt://b}\nsensors: {card: "+c.sensor+"}\n"+
			"outputs: {lock: {kind: simulated, max_on: 10s, commands: true}}\naccess: {front: {reader: card, output: lock}}\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.sensor, err, c.want)
		}
	}
}

// TestADoorOpensWithOn: an output whose safe level is on opens the door while it is off.
func TestADoorOpensWithOn(t *testing.T) {
	_, err := Parse("f", []byte("client_id: porch\nmqtt: {server: mqtt://b}\n"+
		"sensors: {card: {kind: lines, file: /run/card, alarm: true}}\n"+
		"outputs: {lock: {kind: simulated, max_on: 10s, safe: on, commands: true}}\n"+
		"access: {front: {reader: card, output: lock}}\n"))
	if err == nil || !strings.Contains(err.Error(), `access.front.output: "lock" is on at its safe level`) {
		t.Errorf("%v", err)
	}
}
