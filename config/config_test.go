package config

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// must parses a valid file.
func must(t *testing.T, text string) Config {
	t.Helper()
	cfg, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const oneDoor = "\nsensors: {door: {kind: door, gpio: 17}}\n"

// board makes this machine one with a serial number; "" means none.
func board(t *testing.T, serial string) {
	name := filepath.Join(t.TempDir(), "serial-number")
	if serial != "" {
		if err := os.WriteFile(name, []byte(serial), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, host := serialFiles, hostname
	serialFiles = []string{filepath.Join(t.TempDir(), "none"), name}
	t.Cleanup(func() { serialFiles, hostname = files, host })
}

func TestTheSmallestFileGetsEveryDefault(t *testing.T) {
	board(t, "10000000abcdef01\x00")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	got := must(t, "mqtt: {server: mqtt://broker}"+oneDoor)

	stream := sensors.Stream{Name: "door", Kind: "door",
		Quantity: sensors.Quantity{Name: "contact", States: []string{"closed", "open"}}}
	want := Config{
		Sensors: []sensors.Spec{{Name: "door", Kind: "door", Streams: []sensors.Stream{stream},
			Options: &door{GPIO: "17", Debounce: 20 * time.Millisecond}}},
		Queue: queue.Options{Path: "/var/lib/holdfast/queue.db", MaxSize: 64 << 20, SyncEvery: 5 * time.Second,
			ClientID: "pi-abcdef01"},
		Uplink: uplink.Options{
			Broker: mqtt.Broker{ClientID: "pi-abcdef01", Servers: []*url.URL{{Scheme: "mqtt", Host: "broker:1883"}},
				Password: mqtt.Secret{Env: "HOLDFAST_MQTT_PASSWORD"}, KeepAlive: 15 * time.Second,
				Protocol: mqtt.Auto, WillDelay: 5 * time.Second},
			Within:  5 * time.Second,
			Health:  time.Minute,
			Drain:   uplink.Drain{Rate: uplink.AutoRate, Window: uplink.DefaultWindow},
			Topics:  payload.DefaultPatterns,
			Streams: []sensors.Stream{stream},

			HomeAssistant: uplink.HomeAssistant{Prefix: "homeassistant"},
			Commands:      uplink.Commands{MaxAge: 30 * time.Second},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaultClientIDIsFromTheBoardOrTheHost(t *testing.T) {
	for _, c := range []struct{ serial, host, want string }{
		{"10000000abcdef01\x00", "porch", "pi-abcdef01"},
		{"abc\x00", "porch", "pi-abc"},
		{"0000000000000000\x00", "porch", "holdfast-porch"},
		{"12 45\x00", "porch", "holdfast-porch"},
		{"", "porch.example.com", "holdfast-porch-example-com"},
		{"", "a" + strings.Repeat("b", 80), "holdfast-a" + strings.Repeat("b", 54)},
		{"", "", "holdfast-unnamed"},
	} {
		board(t, c.serial)
		hostname = func() (string, error) { return c.host, nil }
		got := must(t, "mqtt: {server: mqtt://b}"+oneDoor).Uplink.ClientID
		if got != c.want {
			t.Errorf("serial %q, host %q: got %q, want %q", c.serial, c.host, got, c.want)
		}
	}
}

func TestEveryKeyIsParsed(t *testing.T) {
	got := must(t, `
client_id: store-12
mqtt:
  servers: [mqtts://a.example.com, "wss://b.example.com/mqtt", "ws://c:8080", "mqtt://[::1]"]
  username: me
  password_file: /no/such/file
  tls: {ca: ca.pem, cert: node.pem, key: node.key}
  keepalive: 1m30s
  health: {every: 5m}
  bind: wwan0
  reconnect: {within: 20s}
  prove_publish: false
  retain: false
drain: {rate: 50, window: 64}
queue: {path: q.db, max_size: 1.5GiB, sync_every: 250ms, max_age: 90d}
topics: {reading: "{client_id}/{stream}/history", state: "{client_id}/{stream}"}
clock: {trust: always}
sensors:
  room: {kind: room, i2c: 1, address: 0x76, every: 1ms, streams: {humidity: hum}}
  gate: {kind: door, gpio: GPIO4, class: garage, alarm: true}
  tank: {kind: probe, class: volume, every: 1d}
`)
	up := got.Uplink
	var servers []string
	for _, u := range up.Servers {
		servers = append(servers, u.String())
	}
	var streams []string
	for _, s := range up.Streams {
		streams = append(streams, s.Name+" "+s.Kind+" "+s.Class+" "+s.Priority.String())
	}
	for _, c := range []struct{ what, got, want any }{
		{"servers", servers, []string{"mqtts://a.example.com:8883", "wss://b.example.com:443/mqtt", "ws://c:8080",
			"mqtt://[::1]:1883"}},
		{"username", up.Username, "me"},
		{"password", up.Password, mqtt.Secret{File: "/no/such/file"}},
		{"tls", up.TLS, mqtt.TLS{CA: "ca.pem", Cert: "node.pem", Key: "node.key"}},
		{"keepalive", up.KeepAlive, 90 * time.Second},
		{"health", up.Health, 5 * time.Minute},
		{"bind", up.Bind, "wwan0"},
		{"reconnect", up.Within, 20 * time.Second},
		{"prove_publish", up.NoProof, true},
		{"retain", up.NoRetain, true},
		{"drain", up.Drain, uplink.Drain{Rate: 50, Window: 64}},
		{"queue", got.Queue, queue.Options{Path: "q.db", MaxSize: 3 << 29, MaxAge: 90 * 24 * time.Hour,
			SyncEvery: 250 * time.Millisecond, ClientID: "store-12"}},
		{"topics", up.Topics, payload.Patterns{Reading: "{client_id}/{stream}/history", State: "{client_id}/{stream}"}},
		{"clock", got.Clock, clock.TrustAlways},
		{"streams", streams, []string{"room_temperature room temperature routine", "hum room humidity routine",
			"gate door garage alarm", "tank probe volume routine"}},
		{"room", got.Sensors[0].Options, &room{I2C: "1", Address: 0x76}},
		{"gate", got.Sensors[1].Options, &door{GPIO: "4", Class: "garage", Debounce: 20 * time.Millisecond}},
		{"every of room", got.Sensors[0].Every, time.Millisecond},
		{"every of gate", got.Sensors[1].Every, time.Duration(0)},
		{"every of tank", got.Sensors[2].Every, 24 * time.Hour},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}

func TestOptionsOfEveryTypeAreFilled(t *testing.T) {
	got := must(t, `
mqtt: {server: mqtt://b}
sensors:
  p:
    kind: probe
    note: 12
    text: 0x10
    on: true
    whole: "-12"
    small: 0x7f
    number: 1e3
    wait: 1.5h
    words: [1, two, ~x]
    pins: &pins [GPIO1, 2]
    wave: {mean: -1, bounds: [[1], []]}
    nested:
    weights: {a: 1, b: .5}
  q: {kind: probe, pins: *pins, wave: }
`)
	want := &probe{common: common{Note: "12"}, Text: "0x10", On: true, Whole: -12, Small: 127, Number: 1000,
		Wait: 90 * time.Minute, Words: []string{"1", "two", "~x"}, Pins: []pin{"1", "2"},
		Wave: &wave{-1, [][]int{{1}, {}}}, Weights: map[string]float64{"a": 1, "b": .5}}
	if p := got.Sensors[0].Options; !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	if q := got.Sensors[1].Options; !reflect.DeepEqual(q, &probe{Pins: want.Pins, Wave: &wave{}}) {
		t.Errorf("got %+v", q)
	}
}

func TestPasswordFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	text := "mqtt: {server: mqtt://b}" + oneDoor
	if got := must(t, text).Uplink.Password; got != (mqtt.Secret{Env: "HOLDFAST_MQTT_PASSWORD"}) {
		t.Errorf("without a credential: %v", got)
	}
	before := packagedPassword
	defer func() { packagedPassword = before }()
	packagedPassword = filepath.Join(t.TempDir(), "mqtt.password")
	name := filepath.Join(dir, "mqtt.password")
	// set by the unit even without a credential
	for file, text := range map[string]string{packagedPassword: "packaged", name: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(t, text).Uplink.Password; got != (mqtt.Secret{File: packagedPassword, Key: "the password"}) {
		t.Errorf("with the file of the package: %v", got)
	}
	if err := os.WriteFile(name, []byte("s3cret"), 0); err != nil {
		t.Fatal(err)
	}
	if got := must(t, text).Uplink.Password; got != (mqtt.Secret{File: name, Key: "the credential mqtt.password"}) {
		t.Errorf("with a credential: %v", got)
	}
}

func TestEmbeddedBrokerHasItsAddress(t *testing.T) {
	for _, c := range []struct{ keys, listen, server, file string }{
		{"", "127.0.0.1:1883", "mqtt://127.0.0.1:1883", ""},
		{"embedded: {listen: 'localhost:2883'}", "localhost:2883", "mqtt://localhost:2883", ""},
		{"embedded: {listen: '[::1]:2883', password_file: p}", "[::1]:2883", "mqtt://[::1]:2883", "p"},
		{"embedded: {listen: ':1', password_file: p}", ":1", "mqtt://127.0.0.1:1", "p"},
		{"embedded: {listen: '[::]:1', password_file: p}", "[::]:1", "mqtt://[::1]:1", "p"},
		{"embedded: {listen: '192.0.2.1:1', password_file: p}", "192.0.2.1:1", "mqtt://192.0.2.1:1", "p"},
	} {
		got := must(t, "mqtt: {server: embedded, "+c.keys+"}"+oneDoor)
		secret := mqtt.Secret{File: c.file, Key: "mqtt.embedded.password_file"}
		if *got.Embedded != (Embedded{c.listen, secret}) || got.Uplink.Password != secret ||
			len(got.Uplink.Servers) != 1 || got.Uplink.Servers[0].String() != c.server {
			t.Errorf("%s: got %v, %v", c.keys, *got.Embedded, got.Uplink.Servers)
		}
	}
}

// The limits of a queue depend on the board. Tests use those of a large board unless they
// set another one.
func init() { arch = "arm64" }

func TestAQueueOn32BitARMFitsItsAddressSpace(t *testing.T) {
	text := "mqtt: {server: mqtt://b}\nqueue: {max_size: 257MiB}" + oneDoor
	must(t, text)
	defer func(was string) { arch = was }(arch)
	arch = "arm"
	if _, err := read(text); err == nil || !strings.Contains(err.Error(),
		"f.yaml:2:19: queue.max_size: must be between 1MiB and 256MiB on 32-bit ARM") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsContainNoSecret(t *testing.T) {
	for _, text := range []string{
		"mqtt: {server: 'mqtts://u:s3cret@b'}", "mqtt: {server: 'u:s3cret@b:1'}",
		"mqtt: {server: 'mqtt://u:s3cret/x@b'}",
		"mqtt: {server: 'wss://b/?token=s3cret'}", "mqtt: {password: s3cret}", "mqtt: {password_file: {is: s3cret}}",
		"mqtt: {server: mqtt://b, password_file: [s3cret]}",
	} {
		_, err := read(text + oneDoor)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestAMissingFileSaysWhatToDo(t *testing.T) {
	_, err := Load(t.Context(), "/no/such.yaml")
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("got %T", err)
	}
	for _, part := range []string{"/no/such.yaml: no such file", "write one", "-c FILE"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func TestStandardInputIsAFile(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func(was *os.File) { os.Stdin = was }(os.Stdin)
	os.Stdin = in
	out.WriteString("mqtt: {server: mqtt://b}\n")
	out.Close()
	_, err = Load(t.Context(), "-")
	if err == nil || !strings.HasPrefix(err.Error(), "<stdin>:1:1: sensors: ") {
		t.Errorf("got %v", err)
	}
}

func TestAFileWithoutEndIsRefused(t *testing.T) {
	_, err := load("/dev/zero", zeros{})
	if err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("got %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestDrainIsPacedByDefault(t *testing.T) {
	for text, want := range map[string]int{"": uplink.AutoRate, "rate: auto": uplink.AutoRate, "rate: 0": 0,
		"rate: 1000000": 1_000_000} {
		cfg := must(t, "client_id: store\nmqtt: {server: embedded}\ndrain: {window: 20, "+text+"}\n"+
			"sensors: {door: {kind: door, gpio: GPIO4}}\n")
		if got := cfg.Uplink.Drain.Rate; got != want {
			t.Errorf("drain: {%s}: rate %d, want %d", text, got, want)
		}
	}
}

func TestFilesForTLSNeedAServerWithTLS(t *testing.T) {
	for scheme, good := range map[string]bool{"mqtt": false, "ws": false, "mqtts": true, "wss": true} {
		_, err := read("client_id: store\nmqtt: {server: \"" + scheme +
			"://127.0.0.1\", tls: {ca: /etc/ca.pem}}\nsensors: {door: {kind: door, gpio: GPIO4}}\n")
		if said := err != nil && strings.Contains(err.Error(), "no server uses TLS"); said == good {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
