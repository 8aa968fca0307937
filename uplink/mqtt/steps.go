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

// The methods in this file do the steps of a connection one by one, for `holdfast
// doctor`, which says at which step a connection fails. Each opens connections of
// its own, and returns after limits.Connect at the latest.

// LookUp returns the addresses of a server's host, found in the same way as for a
// connection; an address is returned as it is.
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

// port returns the port of a server. A URL of MQTT always has one, as package config
// adds it; a WebSocket without one has that of HTTP.
func port(server *url.URL) string {
	if p := server.Port(); p != "" {
		return p
	}
	return strconv.Itoa(map[string]int{"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}[server.Scheme])
}

// Certificates connects with TLS and returns the certificates of both ends, ours
// first. If the broker's are not trusted, the error is a
// [tls.CertificateVerificationError] that has them.
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

// SpeaksPlain reports whether a server's port answers MQTT without TLS. It sends no
// client ID, user name or password, as the port was meant to be encrypted.
func (b Broker) SpeaksPlain(ctx context.Context, server *url.URL) bool {
	b.Limits = b.limits()
	b.Limits.Connect = min(diagnoseTimeout, b.Limits.Connect)
	return b.protocolAt(ctx, &url.URL{Scheme: "mqtt", Host: server.Host}, anonymous) == "MQTT"
}

// dropSocket closes a connection without close_notify of TLS: writing it would wait
// for a broker that reads nothing.
func dropSocket(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		secure.NetConn().Close()
		return
	}
	conn.Close()
}
