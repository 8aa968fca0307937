package mqtt

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
)

func (a *authority) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(a.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// below is an authority that another one vouches for.
func (a *authority) below(t *testing.T, name string) *authority {
	t.Helper()
	pair := a.issue(t, name, x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return &authority{dir: a.dir, cert: pair.Leaf, key: pair.PrivateKey.(*ecdsa.PrivateKey)}
}

// No certificate of a bundle disappears without a word, and none takes another
// with it.
func TestEveryCertificateOfABundleIsReadOrReported(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	server, shaken := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})}})
	good, second := a.read(t, "ca.pem"), other.read(t, "ca.pem")
	lines := strings.SplitAfter(second, "\n")
	damage := func(old, new string) string { return strings.Replace(second, old, new, 1) }
	flipped := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: append([]byte{0x31}, other.cert.Raw[1:]...)})
	der := string(a.cert.Raw)
	for name, c := range map[string]struct{ text, warning, err string }{
		"as it should be":      {text: good},
		"several":              {text: second + good},
		"text between":         {text: "# BEGIN here\n" + second + "# and here\n" + good},
		"a byte order mark":    {text: "\ufeff" + good},
		"lines of Windows":     {text: strings.ReplaceAll("\ufeff"+second+good, "\n", "\r\n")},
		"in DER form":          {text: der},
		"a private key before": {text: a.read(t, "ca.key") + good},
		"a damaged letter": {text: damage("MII", "M!I") + good,
			warning: ":1: the certificate that begins here is damaged"},
		"a damaged certificate": {text: string(flipped) + good,
			warning: ":1: the certificate that begins here is damaged"},
		"a damaged one behind": {text: good + damage("MII", "M!I"),
			warning: "the certificate that begins here is damaged"},
		"a dash that is missing": {text: damage("-----BEGIN", "----BEGIN") + good,
			warning: ":1: the certificate that begins here is damaged"},
		"an end that is missing": {text: strings.Join(lines[:len(lines)-2], "") + good,
			warning: ":1: the certificate that begins here is damaged"},
		"an indented one": {text: "    " + strings.ReplaceAll(second, "\n", "\n    ") + "\n" + good,
			warning: ":1: the certificate that begins here is damaged"},
		"in the form of OpenSSL": {text: strings.ReplaceAll(second, "CERTIFICATE", "TRUSTED CERTIFICATE") + good,
			warning: "openssl x509"},
		"in the form of PKCS #7": {text: strings.ReplaceAll(second, "CERTIFICATE", "PKCS7") + good,
			warning: "openssl pkcs7"},
		"only a damaged one": {text: damage("MII", "M!I"), err: ":1: the certificate that begins here is damaged"},
		"UTF-16":             {text: "\xff\xfe-\x00", err: "is UTF-16"},
		"something else":     {text: "hello\n", err: "holds no certificate"},
		"only a private key": {text: a.read(t, "ca.key"), err: "holds no certificate"},
	} {
		write(t, a.path("bundle"), c.text, 0o644)
		opt := Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("bundle")}}
		warnings, err := opt.Check(t.Context())
		if text := strings.Join(warnings, "; "); (text != "") != (c.warning != "") || !strings.Contains(text,
			c.warning) {
			t.Errorf("%s: warnings %q, want %q", name, text, c.warning)
		}
		if (err != nil) != (c.err != "") || err != nil && (!strings.Contains(err.Error(), c.err) ||
			!strings.HasPrefix(err.Error(), "mqtt.tls.ca: "+a.path("bundle"))) {
			t.Errorf("%s: got %v, want %q", name, err, c.err)
		}
		switch _, err := dial(t, opt); {
		case (err == nil) != (c.err == ""):
			t.Errorf("%s: connecting: %v", name, err)
		case err == nil:
			<-shaken
		}
	}
}

// The broker's authority is the one that is damaged: the error says so.
func TestAnUntrustedBrokerNamesDamagedAuthorities(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	server, _ := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})}})
	write(t, a.path("bundle"), other.read(t, "ca.pem")+strings.Replace(a.read(t, "ca.pem"), "MII", "M!I", 1), 0o644)
	for _, scheme := range []string{"mqtts", "wss"} {
		_, err := dial(t, Broker{Servers: []*url.URL{{Scheme: scheme, Host: server.Host}},
			TLS: TLS{CA: a.path("bundle")}})
		if err == nil || !strings.Contains(err.Error(), "unknown authority") || !strings.Contains(err.Error(),
			"the certificate that begins here is damaged") {
			t.Errorf("%s: got %v", scheme, err)
		}
	}
}

// In whatever order and form the files are, the broker gets what it has to see:
// our certificate, and behind it those that vouch for it.
func TestPairOrdersTheChain(t *testing.T) {
	a := newAuthority(t)
	middle := a.below(t, "middle")
	node := middle.issue(t, "node", x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	leaf, inter, root, key := a.read(t, "node.pem"), a.read(t, "middle.pem"), a.read(t, "ca.pem"), a.read(t, "node.key")
	keyBlock, _ := pem.Decode([]byte(key))
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	server, shaken := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	for name, c := range map[string]struct{ cert, key, want string }{
		"in order":            {leaf + inter, key, "node middle"},
		"the other way":       {inter + leaf, key, "node middle"},
		"with the root":       {leaf + inter + root, key, "node middle ca"},
		"the root in front":   {root + inter + leaf, key, "node middle ca"},
		"the root between":    {inter + root + leaf, key, "node middle ca"},
		"the key in one file": {key + inter + leaf, key + inter + leaf, "node middle"},
		"a byte order mark":   {"\ufeff" + leaf + inter, "\ufeff" + key, "node middle"},
		"in DER form":         {string(node.Leaf.Raw) + string(middle.cert.Raw), string(keyBlock.Bytes), "node middle"},
		"of DER, other way":   {string(middle.cert.Raw) + string(node.Leaf.Raw), key, "node middle"},
	} {
		write(t, a.path("chain"), c.cert, 0o600)
		write(t, a.path("key"), c.key, 0o600)
		if _, err := dial(t, Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("ca.pem"), Cert: a.path("chain"),
			Key: a.path("key")}}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var names []string
		for _, cert := range (<-shaken).PeerCertificates {
			names = append(names, cert.Subject.CommonName)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: the broker sees %s, want %s", name, got, c.want)
		}
	}
	for name, c := range map[string]struct{ cert, key, want string }{
		"a damaged one": {leaf + strings.Replace(inter, "MII", "M!I", 1), key,
			fmt.Sprintf("chain:%d: the certificate that begins here is damaged", strings.Count(leaf, "\n")+1)},
		"no key of it":  {inter + root, key, "private key does not match public key"},
		"no key at all": {leaf, leaf, "key"},
	} {
		write(t, a.path("chain"), c.cert, 0o600)
		write(t, a.path("key"), c.key, 0o600)
		_, err := Broker{TLS: TLS{Cert: a.path("chain"), Key: a.path("key")}}.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// A broker may serve MQTT beside other protocols at one port, and tell them
// apart by what is asked for.
func TestALPNIsSent(t *testing.T) {
	a := newAuthority(t)
	server, shaken := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})},
			NextProtos: []string{"h2", "x-amzn-mqtt-ca"}})
	for alpn, want := range map[string]string{"": "", "x-amzn-mqtt-ca": "x-amzn-mqtt-ca"} {
		if _, err := dial(t, Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("ca.pem"),
			ALPN: alpn}}); err != nil {
			t.Error(err)
			continue
		}
		if got := (<-shaken).NegotiatedProtocol; got != want {
			t.Errorf("asked for %q: the broker speaks %q", alpn, got)
		}
	}
	if _, err := dial(t, Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("ca.pem"),
		ALPN: "mqtt"}}); err == nil {
		t.Error("connected for a protocol that the broker does not have")
	}
}
