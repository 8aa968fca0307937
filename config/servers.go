package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ports are what the schemes mean without one.
var ports = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// secured are the schemes without TLS and what they are with it.
var secured = map[string]string{"mqtt": "mqtts", "ws": "wss"}

// meant are schemes that people know from elsewhere.
var meant = map[string]string{
	"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "mqtt+ssl": "mqtts",
	"http": "ws", "https": "wss",
}

// servers reads `server` or `servers`, of which there has to be one.
func (r *reader) servers(m mqttKeys) []*url.URL {
	switch one, many := r.has("mqtt.server"), r.has("mqtt.servers"); {
	case one && many:
		r.failKey("mqtt.servers", `stands beside "server": write one of the two`)
	case one:
		return r.server(nil, "mqtt.server", m.Server)
	case many:
		return r.several(m.Servers)
	case !r.bad["mqtt"] && !r.bad["mqtt.server"] && !r.bad["mqtt.servers"]:
		r.failKey("mqtt", `needs "server", such as mqtts://broker.example.com, or "embedded"`)
	}
	return nil
}

func (r *reader) several(texts []string) (all []*url.URL) {
	if len(texts) == 0 && !r.bad["mqtt.servers"] {
		r.failValue("mqtt.servers", "needs one server or more")
	}
	for i, text := range texts {
		path := fmt.Sprintf("mqtt.servers[%d]", i)
		if text == "embedded" {
			r.failValue(path, `the embedded broker stands alone: write "server: embedded"`)
			continue
		}
		all = r.server(all, path, text)
	}
	return all
}

func (r *reader) server(all []*url.URL, path, text string) []*url.URL {
	if r.bad[path] {
		return all
	}
	u, err := parseServer(text)
	if err != nil {
		r.failValue(path, "%v", err)
		return all
	}
	if secure := secured[u.Scheme]; r.guarded && secure != "" && !isPrivate(u.Hostname()) {
		r.failValue(path, "the password would travel in plain text to %s, which is no private address: write %s://, or allow_plaintext: true under mqtt if you trust all that is between", u.Hostname(), secure)
	}
	return append(all, u)
}

// parseServer reads the address of a broker. Its errors repeat nothing that may
// be a password.
func parseServer(text string) (*url.URL, error) {
	if strings.Contains(text, "@") {
		return nil, fmt.Errorf("no user and no password in the address: write username and password_file beside it")
	}
	if strings.ContainsAny(text, "?#") {
		return nil, fmt.Errorf("no query and no fragment in the address: all options are keys of this file")
	}
	scheme, rest, found := strings.Cut(text, "://")
	switch {
	case text == "":
		return nil, fmt.Errorf("needs an address, such as mqtts://broker.example.com")
	case !found:
		return nil, fmt.Errorf("%q is no address of a broker: write mqtts://%s (or mqtt, wss, ws)", text, text)
	case ports[scheme] == "":
		return nil, unknownScheme(scheme, rest)
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no address: write %s://HOST or %s://HOST:PORT", text, scheme, scheme)
	}
	switch port := u.Port(); {
	case u.Path != "" && u.Path != "/" && scheme[0] == 'm':
		return nil, fmt.Errorf("%q: MQTT knows no path: end the address at the port", text)
	case port == "":
		u.Host = net.JoinHostPort(u.Hostname(), ports[scheme])
	case !isPort(port):
		return nil, fmt.Errorf("%q: the port has to be between 1 and 65535", text)
	}
	return u, nil
}

func unknownScheme(scheme, rest string) error {
	if m := meant[scheme]; m != "" {
		return fmt.Errorf("%s:// is written %s://%s here", scheme, m, rest)
	}
	var known []string
	for s := range ports {
		known = append(known, s)
	}
	slices.Sort(known)
	if m := similar(scheme, known); m != "" {
		return fmt.Errorf("there is no scheme %q (did you mean %q?)", scheme, m)
	}
	return fmt.Errorf("there is no scheme %q; known are %s", scheme, strings.Join(known, ", "))
}

func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= 65535
}
