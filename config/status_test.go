package config

import (
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const oneBroker = "mqtt: {server: mqtt://127.0.0.1}\n"

func TestStatusPageIsOffByDefault(t *testing.T) {
	if s := must(t, oneBroker+oneDoor).Status; s != nil {
		t.Errorf("a page without a key: %+v", s)
	}
}

func TestSafeStatusPageIsAccepted(t *testing.T) {
	secret := mqtt.Secret{File: "/t", Key: "status.token_file"}
	for keys, want := range map[string]Status{
		"listen: '127.0.0.1:8080'":             {Listen: "127.0.0.1:8080"},
		"listen: 'localhost:80'":               {Listen: "localhost:80"},
		"listen: '[::1]:8080', token_file: /t": {Listen: "[::1]:8080", Token: secret},
		"listen: 'unix:/run/a.sock'":           {Listen: "unix:/run/a.sock"},
		"listen: ':8443', token_file: /t, tls: {cert: /c, key: /k}": {
			Listen: ":8443", Token: secret, Cert: "/c", Key: "/k"},
		"listen: '192.168.1.5:8443', token_file: /t, tls: {cert: /c, key: /k}": {
			Listen: "192.168.1.5:8443", Token: secret, Cert: "/c", Key: "/k"},
	} {
		got := must(t, oneBroker+"status: {"+keys+"}"+oneDoor).Status
		if got == nil || got.Listen != want.Listen || got.Token != want.Token ||
			got.Cert != want.Cert || got.Key != want.Key {
			t.Errorf("%s: got %+v", keys, got)
		}
	}
}

func TestUnsafeStatusPageIsRefused(t *testing.T) {
	for keys, want := range map[string]string{
		"listen: '0.0.0.0:8080'": "that needs status.token_file and status.tls; or " +
			"listen on",
		"listen: ':8080', token_file: /t":                   "that needs status.tls;",
		"listen: 'pi.local:8080', tls: {cert: /c, key: /k}": "that needs status.token_file;",
		"listen: '127.0.0.1'": `"127.0.0.1" is neither a HOST:PORT, such as ` +
			`127.0.0.1:8080`,
		"listen: 'http://127.0.0.1:80'":                    "is neither a HOST:PORT",
		"listen: 'unix:status.sock'":                       "is not an absolute path",
		"listen: 'unix:'":                                  "is not an absolute path",
		"listen: 'unix:/a', tls: {cert: /c, key: /k}":      "a unix socket takes no TLS",
		"listen: 'unix:/" + strings.Repeat("a", 107) + "'": "at most 107",
		"listen: ':8443', token_file: /t, tls: {cert: /c}": `status.tls.cert: needs "key" beside it`,
		"token_file: /t":                                   `status: needs "listen": write listen: 127.0.0.1:8080`,
		"listen: '127.0.0.1:8080', tokenfile: /t":          `did you mean "token_file"?`,
	} {
		_, err := read(oneBroker + "status: {" + keys + "}" + oneDoor)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "\n") != 0 {
			t.Errorf("%s: got %v, want one error with %q", keys, err, want)
		}
	}
}
