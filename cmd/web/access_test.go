package web

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
)

func TestNetworkHostNamesComeFromTheCertificate(t *testing.T) {
	made := httptest.NewUnstartedServer(nil) // for its certificate of example.com
	made.StartTLS()
	defer made.Close()
	cert := &tls.Certificate{Leaf: made.Certificate()}
	a := NewAccess(&config.Status{Listen: ":8443"}, Secrets{Token: "0123456789abcdef", Cert: cert})
	for host, want := range map[string]bool{
		"example.com": true, "192.168.1.5": true, "localhost": true, "evil.example": false,
	} {
		if got := a.hosts(host); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}
