package config

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const maxText = 1<<16 - 1 // bytes of a user name: MQTT 3.1.1, section 1.5.3

// mqttKeys are the keys under mqtt. AllowPlaintext allows sending a password without TLS to
// a host that is not private; Prove and Retain are on by default.
type mqttKeys struct {
	Server         string        `yaml:"server"`          // an address, or "embedded"
	Servers        []string      `yaml:"servers"`         // addresses, in the order in which they are tried
	Username       string        `yaml:"username"`        // at most 65535 bytes
	PasswordFile   fileName      `yaml:"password_file"`   // its first line is the password
	AllowPlaintext bool          `yaml:"allow_plaintext"` // the password may be sent without TLS
	KeepAlive      time.Duration `yaml:"keepalive"`       // 5s to 10m
	TLS            tlsKeys       `yaml:"tls"`
	Bind           string        `yaml:"bind"`          // an address of this machine or an interface
	Prove          bool          `yaml:"prove_publish"` // what is published has to come back
	Retain         bool          `yaml:"retain"`        // the broker keeps retained messages
	Version        mqttVersion   `yaml:"version"`       // 3.1.1, 5, or auto
	WillDelay      time.Duration `yaml:"will_delay"`    // 0s to 5m, in whole seconds
	Health         healthKeys    `yaml:"health"`
	Properties     bool          `yaml:"properties"` // readings have user properties
	Reconnect      reconnectKeys `yaml:"reconnect"`
	Embedded       embeddedKeys  `yaml:"embedded"`
}

// An mqttVersion is the value of mqtt.version.
type mqttVersion mqtt.Version

// UnmarshalText accepts auto, 3.1.1 and 5.
func (v *mqttVersion) UnmarshalText(text []byte) error {
	for _, known := range []mqtt.Version{mqtt.Auto, mqtt.V311, mqtt.V5} {
		if string(text) == known.String() {
			*v = mqttVersion(known)
			return nil
		}
	}
	return fmt.Errorf("want auto, 3.1.1 or 5, not %q", text)
}

// reconnectKeys are the keys under mqtt.reconnect: how a fleet reconnects after an outage
// of its broker.
type reconnectKeys struct {
	Within time.Duration `yaml:"within"`
}

// healthKeys are the keys under mqtt.health.
type healthKeys struct {
	Every time.Duration `yaml:"every"` // 10s to 1h
}

// tlsKeys are the keys under mqtt.tls. The files are read when the agent connects.
type tlsKeys struct {
	CA         fileName `yaml:"ca"`          // certificates that may sign the broker's; empty: the system's
	Cert       fileName `yaml:"cert"`        // of the agent, together with key
	Key        fileName `yaml:"key"`         // of cert
	ServerName string   `yaml:"server_name"` // the name in the broker's certificate, if it is not the host of the address
	ALPN       string   `yaml:"alpn"`        // the ALPN protocol, 1 to 255 bytes
}

// An mqttReader checks the keys under mqtt.
type mqttReader struct {
	*reader
	guarded bool // there is a password, and it must not be sent in plain text
}

// mqtt returns the connection to the broker, and the embedded broker (nil: none). The
// password of an embedded broker has its own key.
func (r *reader) mqtt(m mqttKeys) (uplink.Options, *Embedded) {
	own := mqttReader{reader: r}
	return own.read(m)
}

// read is mqtt with its own reader.
func (r *mqttReader) read(m mqttKeys) (uplink.Options, *Embedded) {
	// A keepalive of less than 5 s causes needless traffic; with more than 10 m a broken link
	// is noticed too late.
	between(r.reader, "mqtt.keepalive", m.KeepAlive, 5*time.Second, 10*time.Minute, "between 5s and 10m")
	between(r.reader, "mqtt.reconnect.within", m.Reconnect.Within, time.Second, 50*time.Second, "between 1s and 50s")
	between(r.reader, "mqtt.will_delay", m.WillDelay, 0, 5*time.Minute, "between 0s and 5m")
	if m.WillDelay%time.Second != 0 {
		r.failValue("mqtt.will_delay", "is not in whole seconds, which MQTT has")
	}
	// There is no 0: a missing heartbeat shows that a node hangs although its connection is
	// alive.
	between(r.reader, "mqtt.health.every", m.Health.Every, 10*time.Second, time.Hour, "between 10s and 1h")
	up := uplink.Options{
		Broker: mqtt.Broker{Username: m.Username, KeepAlive: m.KeepAlive, Bind: r.bind(m.Bind),
			Protocol: mqtt.Version(m.Version), WillDelay: m.WillDelay,
			TLS: mqtt.TLS{CA: string(m.TLS.CA), Cert: string(m.TLS.Cert), Key: string(m.TLS.Key),
				ServerName: m.TLS.ServerName, ALPN: m.TLS.ALPN}},
		Within:   m.Reconnect.Within,
		NoProof:  !m.Prove,
		NoRetain: !m.Retain, Properties: m.Properties,
		Health: m.Health.Every,
	}
	// For the embedded broker no user and no TLS can be configured.
	if !r.has("mqtt.servers") && m.Server == "embedded" {
		own, address := r.embedded(m.Embedded)
		up.Servers, up.Password = address, own.Password
		return up, own
	}
	if r.has("mqtt.embedded") && !r.bad["mqtt.server"] {
		r.failKey("mqtt.embedded", `is only for "server: embedded"`)
	}
	// A password may come from elsewhere than the file, so the resulting password counts.
	r.username(m.Username)
	r.passwordFile("mqtt.password_file", m.PasswordFile)
	up.Password = password(m.PasswordFile)
	r.guarded = up.Password.IsSet() && !m.AllowPlaintext
	up.Servers = r.servers(m)
	r.tls(up)
	return up, nil
}

// packagedPassword is the file that the package's unit passes as a credential. Tests change
// it.
var packagedPassword = "/etc/holdfast/mqtt.password"

// password returns the place of the password: the named file, the systemd credential, the
// environment, or else the file that the unit would pass, so that commands which root runs
// by hand have the password too.
func password(file fileName) mqtt.Secret {
	const variable = "HOLDFAST_MQTT_PASSWORD"
	credential := filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), "mqtt.password")
	switch {
	case file != "":
		return mqtt.Secret{File: string(file)}
	case filepath.IsAbs(credential) && hasLine(credential):
		return mqtt.Secret{File: credential, Key: "the credential mqtt.password"}
	case os.Getenv(variable) == "" && hasLine(packagedPassword):
		return mqtt.Secret{File: packagedPassword, Key: "the password"}
	}
	return mqtt.Secret{Env: variable}
}

// hasLine reports whether a file exists and has more than a line break. Without a password
// the unit passes one line break.
func hasLine(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Size() > int64(len("\n"))
}

// username reports line breaks in a user name, and warns of surrounding blanks, which the
// broker treats as part of it.
func (r *mqttReader) username(name string) {
	const path = "mqtt.username"
	switch {
	case strings.ContainsFunc(name, unicode.IsControl):
		r.failValue(path, "has a line break or a tab: write it on one line, behind the key")
	case len(name) > maxText:
		r.failValue(path, "has %d bytes: MQTT takes at most %d", len(name), maxText)
	case strings.TrimSpace(name) != name:
		r.warn(path, "begins or ends with a space, which is sent as a part of it")
	}
}

// passwordFile warns of a file name that may be the password itself. It does not repeat the
// name.
func (r *reader) passwordFile(path string, file fileName) {
	if file != "" && !strings.Contains(string(file), "/") {
		r.warn(path, "is a name without a folder: write the whole path of a file; "+
			"if this is the password itself, it belongs into such a file, on the first line")
	}
}

// warn adds a warning at the value of a path: the file is valid, but probably not as the
// user intends.
func (r *reader) warn(path, text string) {
	n := nearest(r.values, path)
	r.warnings = append(r.warnings, Error{r.file, n.Line, n.Column, path, text})
}

// tls checks that the keys match each other and the servers. It does not open the files:
// Check of package uplink checks their contents.
func (r *mqttReader) tls(up uplink.Options) {
	// A file may name brokers with TLS and without: the keys apply to those with TLS.
	secure, plain := false, false
	for _, u := range up.Servers {
		secure = secure || tlsScheme[u.Scheme] == ""
		plain = plain || tlsScheme[u.Scheme] != ""
	}
	if r.has("mqtt.tls") && plain && !secure {
		r.failKey("mqtt.tls", "no server uses TLS: write mqtts:// or wss://")
	}
	r.requirePair("mqtt.tls.cert", "mqtt.tls.key")
	r.requirePair("mqtt.tls.key", "mqtt.tls.cert")
	r.alpn(up.TLS.ALPN, up.Servers)
	if path := "mqtt.tls.server_name"; r.has(path) && !r.bad[path] && !isHost(up.TLS.ServerName) {
		r.failValue(path, "%q is not a valid host name of a certificate: write broker.example.com", up.TLS.ServerName)
	}
}

// alpn checks the name of a protocol: RFC 7301, section 3.1, limits its length, and real
// names are printable.
func (r *mqttReader) alpn(name string, servers []*url.URL) {
	const path = "mqtt.tls.alpn"
	raw := slices.ContainsFunc(servers, func(u *url.URL) bool { return u.Scheme == "mqtts" })
	switch {
	case !r.has(path) || r.bad[path]:
	case name == "" || len(name) > 255 || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }):
		r.failValue(path, "this is not the name of a protocol: "+
			"write what the broker's documents say, such as mqtt or x-amzn-mqtt-ca")
	case len(servers) > 0 && !raw:
		r.failKey(path, "is only for mqtts://: a WebSocket always asks for HTTP")
	}
}

// requirePair reports a key without its counterpart, such as a certificate without its
// private key.
func (r *reader) requirePair(path, other string) {
	if r.has(path) && !r.has(other) && !r.bad[other] {
		r.failKey(path, "needs %q beside it", other[strings.LastIndexByte(other, '.')+1:])
	}
}
