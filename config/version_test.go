package config

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

func TestTheVersionOfMQTT(t *testing.T) {
	for text, want := range map[string]mqtt.Version{"auto": mqtt.Auto, "3.1.1": mqtt.V311, "5": mqtt.V5, `"5"`: mqtt.V5} {
		up := must(t, "mqtt: {server: mqtt://broker, version: "+text+", will_delay: 30s}"+oneDoor).Uplink
		if up.Protocol != want || up.WillDelay != 30*time.Second {
			t.Errorf("%s: version %v, will delay %v", text, up.Protocol, up.WillDelay)
		}
	}
	for text, want := range map[string]string{
		"version: 4":        `want auto, 3.1.1 or 5, not "4"`,
		"version: 3.1":      `want auto, 3.1.1 or 5, not "3.1"`,
		"will_delay: 6m":    "between 0s and 5m",
		"will_delay: 500ms": "is not in whole seconds",
	} {
		_, err := Parse("f", []byte("mqtt: {server: mqtt://broker, "+text+"}"+oneDoor))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
