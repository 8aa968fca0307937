package config

import (
	"strings"
	"testing"
)

func TestALPNNeedsMQTTS(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for keys, want := range map[string]string{
		"server: mqtts://b, tls: {alpn: x-amzn-mqtt-ca}":   "",
		"servers: [mqtts://b, wss://b], tls: {alpn: mqtt}": "",
		"server: mqtts://b, tls: {alpn: ''}": "f.yaml:1:39: mqtt.tls.alpn: this is not the name of a " +
			"protocol",
		"server: mqtts://b, tls: {alpn: \"mqtt\\n\"}": "mqtt.tls.alpn: this is not the name of a protocol",
		"server: mqtts://b, tls: {alpn: 'mqtt x'}":    "mqtt.tls.alpn: this is not the name of a protocol",
		"server: mqtts://b, tls: {alpn: [mqtt]}":      "mqtt.tls.alpn: want a single value",
		"server: mqtts://b, tls: {alpn: " + strings.Repeat("x", 256) +
			"}": "mqtt.tls.alpn: this is not the name of a protocol",
		"server: wss://b, tls: {alpn: mqtt}": "mqtt.tls.alpn: is only for mqtts://",
	} {
		cfg, err := read("mqtt: {" + keys + "}" + oneDoor)
		switch {
		case want == "" && (err != nil || cfg.Uplink.TLS.ALPN == ""):
			t.Errorf("%s: got %q, %v", keys, cfg.Uplink.TLS.ALPN, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", keys, err, want)
		}
	}
}
