package config

import (
	"net"
	"path/filepath"
	"strings"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A Status is where the status page, its metrics and its health check are served.
type Status struct {
	Listen string      // host:port, or unix:PATH
	Token  mqtt.Secret // zero: no token is needed
	Cert   string      // PEM file of the server's certificate; empty: no TLS
	Key    string      // PEM file of its private key

	// Listening is called with the URL for a browser when the page can be reached; it may be
	// nil. It is not in the file.
	Listening func(url string)
}

// statusKeys are the keys under status. The page is off unless listen is set.
type statusKeys struct {
	Listen    string        `yaml:"listen"`     // host:port, or unix:PATH
	TokenFile fileName      `yaml:"token_file"` // its first line is the token
	TLS       statusTLSKeys `yaml:"tls"`
}

// statusTLSKeys are the keys under status.tls: both or none.
type statusTLSKeys struct {
	Cert fileName `yaml:"cert"` // PEM
	Key  fileName `yaml:"key"`  // PEM, of cert
}

// UnixPath is the path of the socket; empty if the page has a port.
func (s *Status) UnixPath() string {
	path, ok := strings.CutPrefix(s.Listen, "unix:")
	if !ok {
		return ""
	}
	return path
}

// status returns where to serve the page; nil: it is not served. Outside of this machine it
// needs a token and TLS: the values of a house reveal who is at home, and a token without
// TLS could be read by others.
func (r *reader) status(k statusKeys) *Status {
	const listen = "status.listen"
	if !r.has("status") || r.bad["status"] {
		return nil
	}
	s := &Status{Listen: k.Listen, Cert: string(k.TLS.Cert), Key: string(k.TLS.Key)}
	if k.TokenFile != "" {
		s.Token = mqtt.Secret{File: string(k.TokenFile), Key: "status.token_file"}
		r.passwordFile("status.token_file", k.TokenFile)
	}
	r.requirePair("status.tls.cert", "status.tls.key")
	r.requirePair("status.tls.key", "status.tls.cert")
	switch {
	case !r.has(listen) && !r.bad[listen]:
		r.failKey("status", `needs "listen": write listen: 127.0.0.1:8080`)
	case r.bad[listen]:
	case s.UnixPath() != "" || strings.HasPrefix(k.Listen, "unix:"):
		r.unixSocket(s.UnixPath())
	default:
		r.statusPort(k.Listen, s)
	}
	return s
}

// unixSocket checks the path of a socket: Linux accepts 107 bytes (unix(7)).
func (r *reader) unixSocket(path string) {
	switch {
	case !filepath.IsAbs(path):
		r.failValue("status.listen", "%q is not an absolute path: write unix:/run/holdfast/status.sock", path)
	case len(path) > 107:
		r.failValue("status.listen", "the path has %d bytes: a socket's has at most 107", len(path))
	case r.has("status.tls"):
		r.failKey("status.tls", "is for a port: a unix socket takes no TLS")
	}
}

// statusPort checks host and port, and the requirements of an address that other machines
// reach.
func (r *reader) statusPort(listen string, s *Status) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || !isPort(port) || host != "" && !isAddress(host) && hostProblem(host) != "" {
		r.failValue("status.listen", "%q is neither a HOST:PORT, such as 127.0.0.1:8080, nor a unix:PATH", listen)
		return
	}
	var missing []string
	if s.Token.File == "" && !r.bad["status.token_file"] {
		missing = append(missing, "status.token_file")
	}
	if !r.has("status.tls") && !r.bad["status.tls"] {
		missing = append(missing, "status.tls")
	}
	if !isLoopback(host) && len(missing) > 0 {
		r.failValue("status.listen", "%s can be reached from other machines: that needs %s; "+
			"or listen on 127.0.0.1 and forward the port, as with ssh -L", listen, strings.Join(missing, " and "))
	}
}
