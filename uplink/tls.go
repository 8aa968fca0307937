package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// TLS names the files of a TLS connection. They are read for each connection,
// so that a renewed certificate needs no restart.
type TLS struct {
	CA         string // PEM; empty: the system's roots
	Cert       string // PEM, with Key; empty: no client certificate
	Key        string // PEM, unencrypted, and not open to every user
	ServerName string // the name in the broker's certificate; empty: that of the server
}

// config builds what crypto/tls needs, from the files as they are now. After
// each handshake, show is told the certificates of both ends.
func (t TLS) config(ctx context.Context, server string, show func([]certificate)) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	var err error
	if c.RootCAs, err = t.roots(ctx); err != nil {
		return nil, err
	}
	var ours []certificate
	if t.Cert != "" {
		pair, err := t.pair(ctx)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
		ours = []certificate{{pair.Leaf, "ours, " + t.Cert}}
	}
	c.VerifyConnection = func(state tls.ConnectionState) error {
		show(append(ours[:len(ours):len(ours)], theirs(state)...))
		return nil
	}
	return c, nil
}

// roots are whom we trust; nil is the system's choice.
func (t TLS) roots(ctx context.Context) (*x509.CertPool, error) {
	if t.CA == "" {
		return nil, nil
	}
	file, err := readFile(ctx, t.CA)
	if err != nil {
		return nil, fmt.Errorf("mqtt.tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(file.text) {
		return nil, fmt.Errorf("mqtt.tls.ca: %s holds no certificate in PEM form", t.CA)
	}
	return pool, nil
}

// pair reads our certificate and its key.
func (t TLS) pair(ctx context.Context) (tls.Certificate, error) {
	cert, err := readFile(ctx, t.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mqtt.tls.cert: %w", err)
	}
	key, err := readSecret(ctx, t.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("mqtt.tls.key: %w", err)
	}
	if encrypted(key) {
		return tls.Certificate{}, fmt.Errorf("mqtt.tls.key: %s is encrypted, and nobody is there to type its password: openssl pkey -in %[1]s -out PLAIN.key", t.Key)
	}
	pair, err := tls.X509KeyPair(cert.text, key)
	if err != nil {
		return pair, fmt.Errorf("mqtt.tls.cert and key: %s and %s: %w", t.Cert, t.Key, err)
	}
	return pair, nil
}

// encrypted reports whether a key in PEM form needs a password: PKCS #8 says so
// in its type, the older form in a header (RFC 1421, section 4.6.1.1).
func encrypted(key []byte) bool {
	for block, rest := pem.Decode(key); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true
		}
	}
	return false
}

// Check reads every file that a connection needs, so that a mistake shows at
// the start. A warning is no mistake and still worth a word.
func (o Options) Check(ctx context.Context) (warnings []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.bounds().connect)
	defer cancel()
	_, warning, password := o.Password.read(ctx)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	_, files := o.TLS.config(ctx, "", nil)
	return warnings, errors.Join(password, files)
}

// explain says what a person can do about an error of TLS.
func (o Options) explain(err error) error {
	return o.TLS.explainAlert(explainBroker(blameClock(err, o.Clock)), o.Clock)
}

// blameClock says what is behind a certificate that is too old or too young: on
// a board without a battery it is the clock more often than the certificate.
func blameClock(err error, clock *sensors.Timekeeper) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil {
		return err
	}
	now := clock.Now()
	here := time.UnixMilli(now.Unix).UTC()
	from, until := invalid.Cert.NotBefore.UTC(), invalid.Cert.NotAfter.UTC()
	switch {
	case here.Before(from):
		return fmt.Errorf("%w: the clock of this machine is the likely cause: it says %s, and the certificate is valid from %s: see timedatectl", err, day(here), day(from))
	case now.Clock != sensors.Synced:
		return fmt.Errorf("%w: the clock of this machine may be the cause: it says %s, and nothing vouches for it (%v); the certificate is valid until %s: see timedatectl", err, day(here), now.Clock, day(until))
	}
	return fmt.Errorf("%w: the certificate has to be renewed on the broker: it was valid until %s", err, day(until))
}

func day(t time.Time) string { return t.Format(time.DateOnly) }
