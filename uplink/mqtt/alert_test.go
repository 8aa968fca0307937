package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	blamesOurs = "does not take our certificate"
	blamesOld  = "older than 1.2"
	blamesName = "has no certificate for the name"
	blamesSuit = "no cipher suite in common"
	asksForOne = "set mqtt.tls.cert and mqtt.tls.key"
)

// TestAnAlertIsExplained, with a certificate of ours and without.
func TestAnAlertIsExplained(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "node", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	pool := x509.NewCertPool()
	pool.AddCert(newAuthority(t).cert) // another one
	own := []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback,
		DNSNames: []string{"localhost"}})}
	nobody := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	for _, c := range []struct {
		name          string
		config        *tls.Config
		without, with string // what is blamed
	}{
		{"version", &tls.Config{Certificates: own, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			blamesOld, blamesOld},
		{"cipher", &tls.Config{Certificates: own, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA256}}, blamesSuit, blamesSuit},
		{"name", &tls.Config{GetCertificate: nobody}, blamesName, blamesName},
		{"certificate, TLS 1.2", &tls.Config{Certificates: own, ClientAuth: tls.RequireAndVerifyClientCert,
			ClientCAs:  pool,
			MaxVersion: tls.VersionTLS12}, asksForOne, blamesOurs},
		{"certificate, TLS 1.3", &tls.Config{Certificates: own, ClientAuth: tls.RequireAndVerifyClientCert,
			ClientCAs: pool}, asksForOne, blamesOurs},
	} {
		server, _ := acceptor(t, c.config)
		for _, scheme := range []string{"mqtts", "wss"} {
			for cert, want := range map[string]string{"": c.without, a.path("node.pem"): c.with} {
				opt := Broker{Servers: []*url.URL{{Scheme: scheme, Host: server.Host}}, TLS: TLS{CA: a.path("ca.pem"),
					Cert: cert, Key: a.path("node.key")}}
				if cert == "" {
					opt.TLS.Key = ""
				}
				checkBlame(t, c.name+" "+scheme, opt, want)
			}
		}
	}
}

func checkBlame(t *testing.T, name string, opt Broker, want string) {
	t.Helper()
	_, err := dial(t, opt)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s, certificate %q: %v\nwant %s", name, opt.TLS.Cert, err, want)
		return
	}
	for _, other := range []string{blamesOurs, blamesOld, blamesName} {
		if other != want && strings.Contains(err.Error(), other) {
			t.Errorf("%s, certificate %q: %v\nblames %s", name, opt.TLS.Cert, err, other)
		}
	}
}

// TestAlertsOfOpenSSLAreExplained: it has habits of its own, and most brokers
// use it.
func TestAlertsOfOpenSSLAreExplained(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "broker", x509.Certificate{IPAddresses: loopback, DNSNames: []string{"localhost"}})
	for _, c := range []struct{ name, options, want string }{
		{"certificate, TLS 1.2", "-tls1_2 -Verify 1", asksForOne},
		{"certificate, TLS 1.3", "-tls1_3 -Verify 1", asksForOne},
		{"cipher", "-tls1_2 -cipher ECDHE-ECDSA-CAMELLIA256-SHA384", blamesSuit},
		{"name", "-servername other.example.com -servername_fatal -cert2 " + a.path("broker.pem") + " -key2 " +
			a.path("broker.key"), blamesName},
	} {
		address := openssl(t, append([]string{"-cert", a.path("broker.pem"), "-key", a.path("broker.key")},
			strings.Fields(c.options)...))
		_, port, _ := net.SplitHostPort(address)
		checkBlame(t, "openssl: "+c.name, Broker{Servers: []*url.URL{{Scheme: "mqtts", Host: "localhost:" + port}},
			TLS: TLS{CA: a.path("ca.pem")}}, c.want)
	}
}

// openssl starts a TLS server and returns its address.
func openssl(t *testing.T, options []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command("openssl", append([]string{"s_server", "-quiet", "-accept", address}, options...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe() // its end would be the server's
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: apt-get install openssl", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("openssl %v: %s", options, out.String())
		}
	})
	for range 500 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("openssl does not listen")
	return ""
}
