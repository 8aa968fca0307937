package mqtt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// An authority signs certificates for a test and keeps them in a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	pair := a.issue(t, "ca", x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes NAME.pem and NAME.key; a certificate without dates is good now.
func (a *authority) issue(t *testing.T, name string, cert x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	cert.Subject = pkix.Name{CommonName: name}
	if cert.NotAfter.IsZero() {
		cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = &cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	write(t, a.path(name+".pem"), string(certPEM), 0o644)
	write(t, a.path(name+".key"), string(keyPEM), 0o600)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// acceptor is as much of a broker as a handshake needs: it answers the first
// packet with CONNACK, and tells of each handshake.
func acceptor(t *testing.T, config *tls.Config) (server *url.URL, shaken <-chan tls.ConnectionState) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	states := make(chan tls.ConnectionState, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go accept(c.(*tls.Conn), states)
		}
	}()
	return &url.URL{Scheme: "mqtts", Host: l.Addr().String()}, states
}

func accept(c *tls.Conn, states chan<- tls.ConnectionState) {
	defer c.Close()
	if c.Handshake() != nil {
		// until the client has read why: what is unread at a close resets the connection
		io.Copy(io.Discard, c.NetConn())
		return
	}
	states <- c.ConnectionState()
	packet := make([]byte, 1024)
	if _, err := c.Read(packet); err != nil {
		return
	}
	c.Write([]byte{0x20, 2, 0, 0})
	for {
		if _, err := c.Read(packet); err != nil {
			return
		}
	}
}

func dial(t *testing.T, opt Broker) (*Conn, error) {
	t.Helper()
	opt.ClientID, opt.KeepAlive = "porch", 15*time.Second
	conn, err := NewDialer(opt).Dial(t.Context(), Message{Topic: "porch/agent/status", Payload: []byte("offline")})
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

var loopback = []net.IP{net.IPv4(127, 0, 0, 1)}

// A certificate that was renewed is used by the next connection, and each end
// is shown what the other has.
func TestCertificatesAreReadAgainForEachConnection(t *testing.T) {
	a := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	server, shaken := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	opt := Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("ca.pem"), Cert: a.path("node.pem"),
		Key: a.path("node.key")}}
	for range 2 {
		node := a.issue(t, "node", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		conn, err := dial(t, opt)
		if err != nil {
			t.Fatal(err)
		}
		if got := (<-shaken).PeerCertificates[0]; !got.Equal(node.Leaf) {
			t.Errorf("the broker was shown certificate %v, not the new one, %v", got.SerialNumber,
				node.Leaf.SerialNumber)
		}
		var names []string
		for _, c := range conn.Certificates() {
			names = append(names, c.Subject.CommonName)
		}
		if got := strings.Join(names, " "); got != "node broker ca" {
			t.Errorf("the connection depends on %q", got)
		}
	}
}

func TestTheNameInTheCertificateMayDifferFromTheServers(t *testing.T) {
	a := newAuthority(t)
	server, _ := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker",
			x509.Certificate{DNSNames: []string{"broker.example.com"}})}})
	opt := Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("ca.pem")}}
	if _, err := dial(t, opt); err == nil {
		t.Error("a certificate for another name was taken")
	}
	opt.TLS.ServerName = "broker.example.com"
	if _, err := dial(t, opt); err != nil {
		t.Error(err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	a := newAuthority(t)
	for version, good := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true,
		tls.VersionTLS13: true} {
		server, _ := acceptor(t,
			&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})},
				MinVersion: tls.VersionTLS10, MaxVersion: version})
		if _, err := dial(t, Broker{Servers: []*url.URL{server},
			TLS: TLS{CA: a.path("ca.pem")}}); (err == nil) != good {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

// The clock of a board without a battery is the likelier culprit, and the
// error says so, through all layers of the MQTT library.
func TestACertificateErrorNamesAWrongClock(t *testing.T) {
	a := newAuthority(t)
	past, future := time.Now().Add(-48*time.Hour), time.Now().Add(48*time.Hour)
	for _, c := range []struct {
		name        string
		from, until time.Time
		trust       clock.Trust
		want, not   string
	}{
		{"too young", future, future.Add(time.Hour), clock.TrustAlways, "is the likely cause: it says " +
			day(time.Now().UTC()), "renewed"},
		{"expired, clock doubted", past.Add(-time.Hour), past, clock.TrustNever, "no time source confirms it (unsynced)",
			"renewed"},
		{"expired, clock good", past.Add(-time.Hour), past, clock.TrustAlways,
			"has to be renewed on the broker: it was valid until " + day(past.UTC()), "clock of this"},
	} {
		server, _ := acceptor(t,
			&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback,
				NotBefore: c.from, NotAfter: c.until})}})
		for _, scheme := range []string{"mqtts", "wss"} {
			_, err := dial(t, Broker{Servers: []*url.URL{{Scheme: scheme, Host: server.Host}},
				TLS: TLS{CA: a.path("ca.pem")}, Clock: clock.NewTimekeeper(c.trust)})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.not) {
				t.Errorf("%s, %s: %v", c.name, scheme, err)
			}
		}
	}
	if other := errors.New("no route to host"); explainClock(other, nil) != other {
		t.Error("the clock is blamed for the network")
	}
}

// In TLS 1.3 the broker refuses our certificate after the handshake is over for
// us; the error has to say so all the same.
func TestACertificateErrorNamesOurOwnCertificate(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	past, future := time.Now().Add(-48*time.Hour), time.Now().Add(48*time.Hour)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server, _ := acceptor(t,
			&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: version})
		for _, c := range []struct {
			by          *authority
			from, until time.Time
			want        string
		}{
			{a, past.Add(-time.Hour), past, "node.pem has expired on " + day(past.UTC()) + ": renew it"},
			{a, future, future.Add(time.Hour), "the clock of this machine says " + day(time.Now().UTC())},
			{other, past, future, "node.pem: see who signed it"},
		} {
			c.by.issue(t, "node", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
				NotBefore: c.from, NotAfter: c.until})
			opt := Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("ca.pem"), Cert: c.by.path("node.pem"),
				Key: c.by.path("node.key")}, Clock: clock.NewTimekeeper(clock.TrustAlways)}
			_, err := dial(t, opt)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", tls.VersionName(version), err, c.want)
			}
		}
	}
}

func TestErrorsNameUnreadableTLSFiles(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "node", x509.Certificate{})
	a.issue(t, "other", x509.Certificate{})
	write(t, a.path("empty"), "", 0o600)
	write(t, a.path("locked"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
		0o600)
	for _, c := range []struct {
		files TLS
		want  string
	}{
		{TLS{CA: a.path("none")}, "mqtt.tls.ca: open " + a.path("none")},
		{TLS{CA: a.path("empty")}, "mqtt.tls.ca: " + a.path("empty") + " holds no certificate"},
		{TLS{Cert: a.path("none"), Key: a.path("node.key")}, "mqtt.tls.cert: open " + a.path("none")},
		{TLS{Cert: a.path("node.pem"), Key: a.path("none")}, "mqtt.tls.key: open " + a.path("none")},
		{TLS{Cert: a.path("node.pem"), Key: a.path("other.key")}, "mqtt.tls.cert and key: " + a.path("node.pem") +
			" and " + a.path("other.key")},
		{TLS{Cert: a.path("node.pem"), Key: a.path("locked")}, "mqtt.tls.key: " + a.path("locked") + " is encrypted"},
	} {
		if _, err := (Broker{TLS: c.files}).Check(t.Context()); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
