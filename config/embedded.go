package config

import (
	"net"
	"net/url"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// embeddedKeys are the keys under mqtt.embedded.
type embeddedKeys struct {
	Listen       string   `yaml:"listen"`        // host:port; an empty host means all addresses
	PasswordFile fileName `yaml:"password_file"` // needed if others can reach the address
}

// embedded returns the address on which the broker inside the agent listens, and the one at
// which the agent connects to it. Without a password it may listen on loopback only:
// everybody who reaches the port could publish.
func (r *mqttReader) embedded(e embeddedKeys) (*Embedded, []*url.URL) {
	// Keys without effect are errors: a user who writes them expects protection.
	for _, key := range []string{"mqtt.password_file", "mqtt.tls"} {
		if r.has(key) {
			r.failKey(key, "is for a broker elsewhere: the embedded one takes mqtt.embedded.password_file and no TLS")
		}
	}
	r.passwordFile("mqtt.embedded.password_file", e.PasswordFile)
	own := &Embedded{
		Listen:   e.Listen,
		Password: mqtt.Secret{File: string(e.PasswordFile), Key: "mqtt.embedded.password_file"},
	}
	if r.bad["mqtt.embedded.listen"] {
		return own, nil
	}
	host, port, err := net.SplitHostPort(e.Listen)
	if err != nil || !isPort(port) || host != "" && !isAddress(host) && hostProblem(host) != "" {
		r.failValue("mqtt.embedded.listen", "%q is not a valid HOST:PORT, such as 127.0.0.1:1883", e.Listen)
		return own, nil
	}
	if !isLoopback(host) && e.PasswordFile == "" && !r.bad["mqtt.embedded.password_file"] {
		r.failValue("mqtt.embedded.listen",
			"%s can be reached from other machines: that needs mqtt.embedded.password_file", e.Listen)
	}
	return own, []*url.URL{{Scheme: "mqtt", Host: net.JoinHostPort(reach(host), port)}}
}

// isLoopback reports whether only this machine can connect to a listener on host. A name
// other than localhost is not looked up and counts as reachable.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reach returns the host to dial for a broker that listens on host: the loopback address if
// it listens on all addresses.
func reach(host string) string {
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.To4() != nil && ip.IsUnspecified():
		return "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		return "::1"
	}
	return host
}
