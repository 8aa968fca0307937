package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
)

// TestASocketToAnUntrustedBrokerNamesTheKey: the recorder logs this error as it is.
func TestASocketToAnUntrustedBrokerNamesTheKey(t *testing.T) {
	a := newAuthority(t)
	server, _ := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})}})
	b := Broker{Servers: []*url.URL{server}, TLS: TLS{CA: newAuthority(t).path("ca.pem")}}
	_, _, err := b.OpenSocket(t.Context(), server)
	if err == nil || !strings.Contains(err.Error(), "set mqtt.tls.ca to a file") {
		t.Errorf("got %v, want the key to set", err)
	}
	b.TLS = TLS{CA: a.path("ca.pem"), ServerName: "other.example"}
	_, _, err = b.OpenSocket(t.Context(), server)
	if err == nil || !strings.Contains(err.Error(), "mqtt.tls.server_name") {
		t.Errorf("got %v, want the key to set", err)
	}
}
