package config

import (
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/uplink/payload"
)

func TestPayloadOfAllAndOfOneSensor(t *testing.T) {
	sensors := "sensors:\n  door: {kind: door, gpio: 1}\n" +
		"  hum: {kind: door, gpio: 2, payload: plain, plain: {history: true}}\n" +
		"  raw: {kind: door, gpio: 3, payload: json}\n"
	for top, want := range map[string][3]payload.Format{
		"":                            {payload.JSON, payload.PlainHistory, payload.JSON},
		"payload: json\n":             {payload.JSON, payload.PlainHistory, payload.JSON},
		"payload: plain\n":            {payload.Plain, payload.PlainHistory, payload.JSON},
		"payload: plain\nplain: {}\n": {payload.Plain, payload.PlainHistory, payload.JSON},
		"payload: plain\nplain: {history: true}\n": {payload.PlainHistory, payload.PlainHistory, payload.JSON},
		"plain: {history: true}\n":                 {payload.JSON, payload.PlainHistory, payload.JSON},
	} {
		cfg := must(t, "mqtt: {server: mqtt://b}\n"+top+sensors)
		for i, stream := range []string{"door", "hum", "raw"} {
			if got := cfg.Uplink.Formats.Of(stream); got != want[i] {
				t.Errorf("%q: %s has format %d, want %d", top, stream, got, want[i])
			}
		}
	}
}

// TestPlainHistoryOfOneSensor: the key of the sensor overrides that of the file, even if it
// is false.
func TestPlainHistoryOfOneSensor(t *testing.T) {
	cfg := must(t, "mqtt: {server: mqtt://b}\npayload: plain\nplain: {history: true}\n"+
		"sensors: {door: {kind: door, gpio: 1, plain: {history: false}}}\n")
	if got := cfg.Uplink.Formats.Of("door"); got != payload.Plain {
		t.Errorf("the format is %d, want Plain", got)
	}
}

// TestCardReaderWithPlainPayloadsIsAWarning: a back end answers a reading by its key, which
// plain payloads do not have.
func TestCardReaderWithPlainPayloadsIsAWarning(t *testing.T) {
	text := func(keys string) string {
		return "mqtt: {server: mqtt://b}\n" +
			"sensors: {card: {kind: lines, file: /run/card, alarm: true" + keys + "}}\n" +
			"outputs: {lock: {kind: simulated, class: lock, max_on: 10s, commands: true}}\n" +
			"access: {front: {reader: card, output: lock, open: 5s, allow_file: /etc/holdfast/cards}}\n"
	}
	for keys, want := range map[string]bool{"": false, ", payload: plain": true} {
		cfg, err := Parse("f.yaml", []byte(text(keys)))
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Contains(cfg.Warnings.Error(), "access.front: the payload of card is plain")
		if said != want {
			t.Errorf("%q: warnings %q", keys, cfg.Warnings)
		}
	}
}
