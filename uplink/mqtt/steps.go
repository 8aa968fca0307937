package mqtt

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/holdfast-iot/holdfast/uplink/mdns"
)

// The steps of a connection one by one, for `holdfast doctor`: each shows what the
// whole would only fail with.

// LookUp returns the addresses of a server's host, as a connection finds them.
func (b Broker) LookUp(ctx context.Context, server *url.URL) ([]netip.Addr, error) {
	host := server.Hostname()
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if mdns.IsLocal(host) {
		return mdns.Resolver{Bind: b.Bind}.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Reach opens a TCP connection to one address of a server, and closes it.
func (b Broker) Reach(ctx context.Context, server *url.URL, addr netip.Addr) error {
	at := &url.URL{Scheme: "mqtt", Host: net.JoinHostPort(addr.Unmap().String(), port(server))}
	conn, err := openSocket(ctx, b, at, nil)
	if err != nil {
		return err
	}
	return conn.Close()
}

// port is the port of a server: config has written the scheme's own into those of
// MQTT, and a WebSocket has that of HTTP.
func port(server *url.URL) string {
	if p := server.Port(); p != "" {
		return p
	}
	return strconv.Itoa(map[string]int{"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}[server.Scheme])
}

// Certificates connects with TLS and returns the certificates of both ends. Those
// of a broker that is not trusted are in the error, as crypto/tls has it.
func (b Broker) Certificates(ctx context.Context, server *url.URL) ([]Certificate, error) {
	certs := new(connCertificates)
	config, err := b.TLS.config(ctx, server.Hostname(), certs.show)
	if err != nil {
		return nil, err
	}
	conn, err := openSocket(ctx, b, server, config)
	if err != nil {
		return nil, err
	}
	defer dropSocket(conn)
	return certs.Certificates(), nil
}

// SpeaksPlain reports whether a port answers MQTT without TLS. It gives nothing
// away: it connects without a client ID, a user name and a password.
func (b Broker) SpeaksPlain(ctx context.Context, server *url.URL) bool {
	b.Limits = b.limits()
	b.Limits.Connect = min(askTime, b.Limits.Connect)
	return b.hello(ctx, &url.URL{Scheme: "mqtt", Host: server.Host}, anonymous) == "MQTT"
}

// dropSocket closes a connection without TLS's farewell, for which a broker that
// hangs would be waited for.
func dropSocket(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		secure.NetConn().Close()
		return
	}
	conn.Close()
}
