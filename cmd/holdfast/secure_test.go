package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A ca signs certificates for a test.
type ca struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) *ca {
	t.Helper()
	c := &ca{dir: t.TempDir()}
	c.cert, c.key = c.issue(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	return c
}

// issue writes NAME.pem and NAME.key.
func (c *ca) issue(t *testing.T, name string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.Subject = pkix.Name{CommonName: name}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c.cert, c.key
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, name+".pem", "CERTIFICATE", der)
	c.write(t, name+".key", "EC PRIVATE KEY", secret)
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func (c *ca) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(c.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *ca) path(name string) string { return filepath.Join(c.dir, name) }

// secureBroker requires TLS with a certificate of this test's authority, and user store
// with the password "s3cret".
func secureBroker(t *testing.T, c *ca) *mosquitto {
	t.Helper()
	c.issue(t, "broker", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	users := c.path("users")
	if out, err := exec.Command("mosquitto_passwd", "-c", "-b", users, "store", "s3cret").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
	}
	return startMosquitto(t,
		fmt.Sprintf("allow_anonymous false\npassword_file %s\ncafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate "+
			"true\n",
			users, c.path("ca.pem"), c.path("broker.pem"), c.path("broker.key")))
}

func TestTLSPasswordAndReload(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	b := secureBroker(t, c)
	c.issue(t, "node", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	for name, word := range map[string]string{"wrong": "guess\n", "right": "s3cret\n"} {
		if err := os.WriteFile(c.path(name), []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := func(password string) string {
		return fmt.Sprintf("client_id: store\nmqtt:\n  server: mqtts://%s\n  password_file: %s\n  tls: {ca: %s, cert: "+
			"%s, key: %s}\n"+
			"queue: {path: %%DIR%%/queue.db}\nsensors:\n  load: {kind: simulated, counter: {}, every: 100ms}\n",
			b.addr, c.path(password), c.path("ca.pem"), c.path("node.pem"), c.path("node.key"))
	}
	a := newAgent(t, text("wrong"))
	a.start()
	eventually(t, time.Minute, "an error that says what to mend", func() bool {
		log := a.log.String()
		return strings.Contains(log, "level=ERROR") && strings.Contains(log, "mqtt.password_file")
	})

	a.configure("client_id: nonsense\nsensors: {}\n")
	a.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, time.Minute, "a bad file changes nothing", func() bool {
		return strings.Contains(a.log.String(), "configuration not changed")
	})
	a.configure(text("right"))
	a.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, time.Minute, "the good file is used", func() bool {
		return strings.Contains(a.log.String(), "uplink up")
	})
	a.stop()
	if log := a.log.String(); strings.Contains(log, "s3cret") || strings.Contains(log, "guess") {
		t.Error("the log holds a password")
	}
}

func TestUnknownCertificateIsRefused(t *testing.T) {
	t.Parallel()
	c := newCA(t)
	b := secureBroker(t, c)
	a := newAgent(t, fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtts://%s\"}\nqueue: {path: %%DIR%%/queue.db}\n"+
		"sensors:\n  load: {kind: simulated, counter: {}, every: 100ms}\n", b.addr))
	a.start()
	eventually(t, time.Minute, "the system's roots do not know the broker", func() bool {
		return strings.Contains(a.log.String(), "certificate")
	})
	if strings.Contains(a.log.String(), "uplink up") {
		t.Error("connected to a broker that nobody trusts")
	}
	a.stop()
}
