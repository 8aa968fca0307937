package config

import (
	"strings"
	"testing"
)

func TestPrivateAddressesAreRecognized(t *testing.T) {
	for host, private := range map[string]bool{
		"127.0.0.1": true, "127.3.2.1": true, "::1": true, "localhost": true, "LOCALHOST": true, "a.localhost": true,
		"10.0.0.1": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.2": true, "169.254.3.4": true,
		"fe80::1": true, "fe80::1%eth0": true, "fd12:3456::1": true, "::ffff:10.0.0.1": true,
		"broker": true, "broker-1": true, "broker.local": true, "Broker.Local.": true, "a.b.lan": true,
		"ha.home.arpa": true, "mq.corp.internal": true,

		"172.32.0.1": false, "192.0.2.1": false, "8.8.8.8": false, "2001:db8::1": false, "::ffff:8.8.8.8": false,
		"0.0.0.0":            false,
		"broker.example.com": false, "broker.example.com.": false, "com.": false, "local": true,
		"notlocal.lan.com": false, "evillocal.com": false,
		"134744072": false, "10": false, "192.168.1": false, "": false,
	} {
		if isPrivate(host) != private {
			t.Errorf("%q: private is %v, want %v", host, !private, private)
		}
	}
}

// For every source of a password, and only if there is a password.
func TestPasswordInPlainTextIsAnError(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	const open = "mqtt: {server: mqtt://broker.example.com"
	must(t, open+"}"+oneDoor)
	must(t, open+", password_file: p, allow_plaintext: true}"+oneDoor)
	must(t, "mqtt: {server: mqtt://broker.lan, password_file: p}"+oneDoor)
	must(t, "mqtt: {server: mqtts://broker.example.com, password_file: p, "+
		"tls: {server_name: broker-1.example.com}}"+oneDoor)
	must(t, "mqtt: {server: embedded, embedded: {listen: '192.0.2.1:1883', password_file: p}}"+oneDoor)
	refused := func(text string) {
		t.Helper()
		_, err := read(text + oneDoor)
		if err == nil || !strings.Contains(err.Error(),
			"f.yaml:1:16: mqtt.server: the password would travel in plain text to broker.example.com") {
			t.Errorf("%s: got %v", text, err)
		}
	}
	refused(open + ", password_file: p}")
	refused(open + ", password_file: p, allow_plaintext: false}")
	t.Setenv("HOLDFAST_MQTT_PASSWORD", "s3cret")
	refused(open + "}")
}
