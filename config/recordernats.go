package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A NATS is the connection to NATS, whose MQTT gateway the agents publish to.
type NATS struct {
	Servers  []string // nats://HOST:PORT or tls://HOST:PORT
	Username string
	Password mqtt.Secret
	TLS      mqtt.TLS      // CA, Cert and Key alone
	Keep     time.Duration // how long NATS keeps messages that recorders have not stored
}

// natsKeys are the keys under nats, instead of those under mqtt.
type natsKeys struct {
	Server       string        `yaml:"server"`
	Servers      []string      `yaml:"servers"`
	Username     string        `yaml:"username"`
	PasswordFile fileName      `yaml:"password_file"`
	TLS          natsTLSKeys   `yaml:"tls"`
	Share        string        `yaml:"share"` // the name of the durable consumer of a group
	Keep         time.Duration `yaml:"keep"`  // 1m to 8760h
}

// natsTLSKeys are the files for TLS.
type natsTLSKeys struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// nats checks the keys under nats; it returns nil if the file has none of them. It opens no
// file.
func (r *reader) nats(k natsKeys) *NATS {
	switch {
	case !r.has("nats"):
		return nil
	case r.has("mqtt"):
		r.failKey("nats", `cannot be used together with "mqtt": the recorder has one source, so write one of the two`)
	}
	r.passwordFile("nats.password_file", k.PasswordFile)
	r.requirePair("nats.password_file", "nats.username")
	r.requirePair("nats.tls.cert", "nats.tls.key")
	r.requirePair("nats.tls.key", "nats.tls.cert")
	between(r, "nats.keep", k.Keep, time.Minute, 8760*time.Hour, "between 1m and 8760h")
	n := &NATS{Keep: k.Keep, Username: k.Username, Password: recorderPassword(k.PasswordFile),
		TLS: mqtt.TLS{CA: k.TLS.CA, Cert: k.TLS.Cert, Key: k.TLS.Key}}
	n.Password.Key = "nats.password_file"
	// A password from the service manager counts too.
	guarded := n.Password.IsSet()
	switch one, many := r.has("nats.server"), r.has("nats.servers"); {
	case one && many:
		r.failKey("nats.servers", `cannot be used together with "server": write one of the two`)
	case one:
		n.Servers = r.natsServer(nil, "nats.server", k.Server, guarded)
	case many:
		for i, text := range k.Servers {
			n.Servers = r.natsServer(n.Servers, fmt.Sprintf("nats.servers[%d]", i), text, guarded)
		}
	}
	if len(n.Servers) == 0 && len(r.errs) == 0 {
		r.failKey("nats", `needs "server", such as nats://127.0.0.1:4222, or "servers" with those of a cluster`)
	}
	return n
}

// natsServer appends the URL in text. Its errors contain nothing of the text, which may
// include a password.
func (r *reader) natsServer(all []string, path, text string, guarded bool) []string {
	u, err := url.Parse(text)
	switch {
	case r.bad[path]:
	case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" || strings.Trim(u.Path, "/") != "":
		r.failValue(path, "this is not the address of a NATS server: write nats://HOST:4222 or tls://HOST:4222")
	case u.User != nil || u.RawQuery != "":
		r.failValue(path, "an address cannot have a user or a password: write username and password_file beside it")
	case guarded && u.Scheme == "nats" && !isPrivate(u.Hostname()):
		r.failValue(path, "the password would travel in plain text to %s, which is not a private address: write tls://",
			u.Hostname())
	default:
		return append(all, text)
	}
	return all
}
