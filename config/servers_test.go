package config

import (
	"errors"
	"strings"
	"testing"
)

// A valid server can be dialled: each of these is a URL that Go's net accepts, or is
// refused with a remedy.
func TestAddressesOfBrokers(t *testing.T) {
	for text, want := range map[string]string{
		"mqtt://broker":                      "mqtt://broker:1883",
		"MQTT://broker":                      "mqtt://broker:1883",
		"Mqtts://Broker.Example.com":         "mqtts://Broker.Example.com:8883",
		"mqtt://broker:":                     "mqtt://broker:1883",
		"mqtt://broker/":                     "mqtt://broker:1883/",
		"mqtt://mqtt_broker:1884":            "mqtt://mqtt_broker:1884",
		"mqtts://broker.example.com.":        "mqtts://broker.example.com.:8883",
		"mqtt://homeassistant.local":         "mqtt://homeassistant.local:1883",
		"mqtt://192.168.1.7":                 "mqtt://192.168.1.7:1883",
		"mqtt://[::1]":                       "mqtt://[::1]:1883",
		"mqtt://[2001:db8::1]:99":            "mqtt://[2001:db8::1]:99",
		"mqtt://[fe80::1%eth0]":              "mqtt://[fe80::1%25eth0]:1883",
		"mqtt://[fe80::1%25eth0]:1884":       "mqtt://[fe80::1%25eth0]:1884",
		"wss://broker/mqtt":                  "wss://broker:443/mqtt",
		"ws://broker:9001/a/b":               "ws://broker:9001/a/b",
		"mqtt://::1":                         "! stands in brackets: write mqtt://[ADDRESS]",
		"mqtt://::1:1883":                    "! stands in brackets",
		"mqtt://2001:db8::1":                 "! stands in brackets",
		"mqtts://2001:db8::1234:8883":        "! stands in brackets",
		"mqtt://fe80::1%eth0":                "! stands in brackets",
		"mqtt://[::1":                        "! in brackets is not an IPv6 address",
		"mqtt://[192.168.1.7]":               "! in brackets is not an IPv6 address",
		"mqtt://[broker]:1883":               "! in brackets is not an IPv6 address",
		"mqtt://a,b":                         "! more than one address",
		"mqtt://a:1883,b:1883":               "! more than one address",
		"mqtt://a,mqtt://b":                  "! more than one address",
		"mqtt://a b":                         "! a character that is not allowed in names",
		"mqtt://-a":                          "! a character that is not allowed in names",
		"mqtt://a..b":                        "! or an empty part",
		"mqtt://a%41":                        "! a character that is not allowed in names",
		"mqtt://bücher.example":              "! outside of ASCII",
		"mqtt://192.168.1.300":               "! is not a valid one: four numbers",
		"mqtt://192.168.1":                   "! is not a valid one: four numbers",
		"mqtt://192.168.1.7.":                "! is not a valid one: four numbers",
		"mqtt://broker:0":                    "! between 1 and 65535",
		"mqtt://broker:65536":                "! between 1 and 65535",
		"mqtt://broker:+1883":                "! write mqtt://HOST",
		"mqtt://":                            "! write mqtt://HOST",
		"mqtt:///":                           "! write mqtt://HOST",
		"mqtt://broker/mqtt":                 "!MQTT has no path",
		"wss://broker/%zz":                   "! not an address",
		"mqtt:broker":                        "! not the address of a broker",
		"broker:1883":                        "! not the address of a broker",
		"mqtt://broker\n":                    "! a character that is not allowed in names",
		"TCP://broker":                       "! written mqtt://",
		"mqtt:// broker":                     "! a character that is not allowed in names",
		"mqtt://" + strings.Repeat("a", 300): "! a character that is not allowed in names",
	} {
		u, err := parseServer(text)
		problem, bad := strings.CutPrefix(want, "!")
		switch {
		case bad && (err == nil || !strings.Contains(err.Error(), problem)):
			t.Errorf("%q: got %v, %v, want an error with %q", text, u, err, problem)
		case !bad && (err != nil || u.String() != want):
			t.Errorf("%q: got %v, %v, want %s", text, u, err, want)
		}
	}
}

// No message repeats a text that may be a password, wherever it is written in the file.
func TestServerErrorsContainNoSecret(t *testing.T) {
	const secret = "h7-s3cret"
	for _, text := range []string{
		"server: porch:SECRET", "server: SECRET", "server: 'porch:SECRET@broker'", "server: porch/SECRET",
		"server: SECRET:1883",
		"server: 'mqtt://porch:SECRET'", "server: 'mqtt://porch:SECRET@broker'", "server: 'mqtt://SECRET@broker'",
		"server: 'mqtt://porch:SECRET/'", "server: 'mqtt://broker/SECRET'", "server: 'mqtt://broker:1883:SECRET'",
		"server: 'tcp://porch:SECRET'", "server: 'SECRET://broker'", "server: 'mqtt://[SECRET]'",
		"server: 'mqtt://b?password=SECRET'",
		"server: 'mqtt:porch:SECRET'", "server: \"mqtt://SECRET\\n\"", "server: 'mqtt://porch,SECRET'",
		"server: {porch: SECRET}",
		"servers: ['porch:SECRET']", "servers: porch:SECRET", "servers: {porch: SECRET}",
		"server: mqtt://b, password: SECRET", "server: mqtt://b, password:SECRET", "server: mqtt://b, password=SECRET",
		"server: mqtt://b, 'password = SECRET': 1", "server: mqtt://b, {SECRET}: 1",
		"server: mqtt://b, password=SECRET: 1, password=SECRET: 2",
		"server: mqtt://b, password_file: [SECRET]", "server: mqtt://b, password_file: {SECRET: }",
		"server: mqtt://b, password_file: *SECRET", "server: mqtt://b, password_file: !SECRET",
		"server: mqtt://b, password_file: !SECRET x",
		"server: mqtt://b, password_file: !!SECRET x", "server: mqtt://b, password_file: !<SECRET> x",
		"server: mqtt://b, password_file: !e!SECRET x",
		"server: mqtt://b, password_file: %SECRET", "server: mqtt://b, password_file: @SECRET",
		"server: mqtt://b, password_file: `SECRET`",
		"server: mqtt://b, password_file: \"SECRET", "server: mqtt://b, password_file: 'SECRET",
		"server: mqtt://b, password_file: \"\\SECRET\"",
		"server: mqtt://b, password_file: \"SECRET\\n\"", "server: mqtt://b, password_file: &SECRET",
		"server: mqtt://b, password_file: &SECRET [a]",
		"server: mqtt://b, password_file: \"-----BEGIN SECRET-----\"", "server: mqtt://b, password_file: SECRET",
		"server: mqtt://b, username: \"SECRET\\n\"", "server: mqtt://b, username: \" SECRET\"",
		"server: mqtt://b, username: {SECRET: }",
		"server: mqtts://b, tls: {cert: a, key: \"-----BEGIN PRIVATE KEY-----\\nSECRET\\n\"}",
		"server: mqtts://b, tls: {cert: a, key: \"SECRET\\nSECRET\"}",
		"server: embedded, password_file: SECRET", "server: embedded, embedded: {password_file: \"SECRET\\n\"}",
		"server: embedded, embedded: {listen: '0.0.0.0:1883', password: SECRET}",
		"server: embedded, embedded: {password_file: SECRET}",
	} {
		cfg, err := read("mqtt: {" + strings.ReplaceAll(text, "SECRET", secret) + "}" + oneDoor)
		said := cfg.Warnings.Error()
		if err != nil {
			said = err.Error()
		}
		if said == "" || strings.Contains(said, secret) {
			t.Errorf("%s: %q", text, said)
		}
		var all Errors
		if err != nil && !errors.As(err, &all) {
			t.Errorf("%s: %v is not of Errors", text, err)
		}
	}
}
