package config

import (
	"strings"
	"testing"
	"time"
)

const smallRecorder = `client_id: recorder-1
mqtt: {server: mqtts://broker.example.com:8883, password_file: /etc/holdfast/recorder.password}
database: "sqlite:/var/lib/holdfast-recorder/history.db"
devices: {unknown: accept}
`

func TestRecorderFileOfTheContractIsParsed(t *testing.T) {
	r, err := ParseRecorder("recorder.yaml", []byte(smallRecorder))
	if err != nil {
		t.Fatal(err)
	}
	if r.Broker.ClientID != "recorder-1" || r.Broker.Servers[0].Host != "broker.example.com:8883" ||
		r.Broker.Password.File != "/etc/holdfast/recorder.password" ||
		r.Database != "sqlite:/var/lib/holdfast-recorder/history.db" || r.Unknown != AcceptUnknown ||
		r.BatchSize != 5000 || r.BatchTime != 250*time.Millisecond || r.MaxQuarantine != 10_000 {
		t.Errorf("got %+v", r)
	}
}

func TestRecorderErrorsHaveTheirPosition(t *testing.T) {
	for text, want := range map[string]string{
		"mqtt: {server: mqtt://b}\n":                                        "client_id: is missing",
		"client_id: r\nmqtt: {server: mqtt://b, password: x}\n":             `mqtt: unknown key "password"`,
		"client_id: r\nmqtt: {server: embedded}\n":                          "r.yaml:2:16: mqtt.server: the embedded broker",
		"client_id: r\nmqtt: {server: mqtt://b}\ndatabase: history.db\n":    "want sqlite:/PATH/OF/FILE",
		"client_id: r\nmqtt: {server: mqtt://b}\ndatabase: sqlite:h.db\n":   "needs the whole path",
		"client_id: r\nmqtt: {server: mqtt://b}\ndevices: {unknown: eat}\n": `want accept, refuse or quarantine, not "eat"`,
		"client_id: r\nmqtt: {server: mqtt://b}\nbatch: {size: 0}\n":        "must be between 1 and 20000",
		"client_id: r\nmqtt: {server: mqtt://b}\nbatch: {time: 250}\n":      "needs a unit",
		"client_id: r\nmqtt: {server: mqtt://b}\nsensors: {}\n":             `unknown key "sensors"`,
		"client_id: r\nmqtt: {server: mqtt://b, share: g}\n":                "need one database",
		"client_id: r\nmqtt: {server: mqtt://b, share: a/b}\n":              `"a/b" is not a valid name`,
		"client_id: r\n": "needs \"server\"",
		"client_id: r\nmqtt: {server: mqtt://b}\ndatabase: postgres://u:secret@h/n\n": "cannot have a password",
	} {
		_, err := ParseRecorder("r.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is repeated: %v", err)
		}
	}
}

func TestRecorderStatusHasTheChecksOfTheAgents(t *testing.T) {
	const before = "client_id: r\nmqtt: {server: mqtt://127.0.0.1}\nstatus: "
	r, err := ParseRecorder("r.yaml", []byte(before+"{listen: 127.0.0.1:8081}\n"))
	if err != nil || r.Status == nil || r.Status.Listen != "127.0.0.1:8081" {
		t.Errorf("loopback: %+v, %v", r.Status, err)
	}
	r, err = ParseRecorder("r.yaml", []byte(smallRecorder))
	if err != nil || r.Status != nil {
		t.Errorf("without status: %+v, %v", r.Status, err)
	}
	for text, want := range map[string]string{
		"{listen: 0.0.0.0:8081}":                    "needs status.token_file and status.tls",
		"{listen: 0.0.0.0:8081, token_file: /t}":    "needs status.tls",
		"{listen: unix:/run/s.sock}":                "the recorder listens on a port",
		"{token_file: /t}":                          `needs "listen"`,
		"{listen: 127.0.0.1:8081, tls: {cert: /c}}": `needs "key"`,
	} {
		_, err := ParseRecorder("r.yaml", []byte(before+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestNATSErrorsHaveTheirPosition(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nats: {server: nats://127.0.0.1, share: g}",
			"nats.share: recorders that share"},
		{"nats: {server: mqtt://127.0.0.1}",
			"write nats://HOST:4222"},
		{"nats: {server: nats://u:secret@h}",
			"cannot have a user or a password"},
		{"nats: {server: nats://a.example, username: u, password_file: /p}",
			"would travel in plain text"},
		{"nats: {server: nats://h, keep: 1s}",
			"must be between 1m and 8760h"},
		{"nats: {username: u}",
			`nats: needs "server"`},
		{"nats: {server: nats://h}\nmqtt: {server: mqtt://b}",
			"the recorder has one source"},
	} {
		_, err := ParseRecorder("r.yaml", []byte("client_id: r\n"+c.text+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestARecorderMayHaveNATSAsItsSource(t *testing.T) {
	r, err := ParseRecorder("r.yaml", []byte("client_id: r-1\nnats:\n"+
		"  servers: [\"nats://10.0.0.1:4222\", \"tls://n.example.com\"]\n  share: history\n"+
		"database: postgres://r@h/history\n"))
	if err != nil || r.NATS == nil {
		t.Fatalf("got %+v, %v", r, err)
	}
	if len(r.NATS.Servers) != 2 || r.NATS.Keep != 72*time.Hour ||
		r.Share != "history" || r.Broker.ClientID != "r-1" || len(r.Broker.Servers) != 0 {
		t.Errorf("got %+v", r)
	}
}
