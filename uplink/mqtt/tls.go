package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// TLS names the files of a TLS connection. They are read again for each connection,
// so that a renewed certificate needs no restart. The zero value trusts the system's
// authorities and has no client certificate.
type TLS struct {
	CA         string // PEM or DER; empty: the system's roots
	Cert       string // PEM or DER, with Key; empty: no client certificate
	Key        string // PEM or DER, unencrypted, and not open to every user
	ServerName string // the name in the broker's certificate; empty: that of the server
	ALPN       string // the protocol to ask for, where a port serves several; empty: none
}

// config makes the configuration for crypto/tls from the files as they are now.
// server is the host's name in the URL. After each successful handshake, show is
// called with the certificates of both ends, ours first.
func (t TLS) config(ctx context.Context, server string, show func([]Certificate)) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.ALPN != "" {
		c.NextProtos = []string{t.ALPN}
	}
	var err error
	if c.RootCAs, _, err = t.roots(ctx); err != nil {
		return nil, err
	}
	var ours []Certificate
	if t.Cert != "" {
		pair, err := t.pair(ctx)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
		ours = []Certificate{{pair.Leaf, "ours, " + t.Cert}}
	}
	c.VerifyConnection = func(state tls.ConnectionState) error {
		show(append(ours[:len(ours):len(ours)], peerCertificates(state)...))
		return nil
	}
	return c, nil
}

// explain adds to an error of TLS what a person can do about it. It returns other
// errors unchanged.
func (b Broker) explain(err error) error {
	return b.TLS.explainAlert(explainBroker(explainClock(err, b.Clock)), b.Clock)
}

// explainClock adds the likely cause to an error about a certificate that has
// expired or is not valid yet: on a board without a real-time clock it is a wrong
// time more often than the certificate.
func explainClock(err error, keeper *clock.Timekeeper) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil {
		return err
	}
	now := keeper.Now()
	here := time.UnixMilli(now.Unix).UTC()
	from, until := invalid.Cert.NotBefore.UTC(), invalid.Cert.NotAfter.UTC()
	switch {
	case here.Before(from):
		return fmt.Errorf("%w: the clock of this machine is the likely cause: it says %s, and the certificate is "+
			"valid from %s: see timedatectl", err, day(here), day(from))
	case now.Clock != clock.Synced:
		return fmt.Errorf("%w: the clock of this machine may be the cause: it says %s, and no time source confirms it "+
			"(%v); the certificate is valid until %s: see timedatectl", err, day(here), now.Clock, day(until))
	}
	return fmt.Errorf("%w: the certificate has to be renewed on the broker: it was valid until %s", err, day(until))
}

// day is a date for a person, as in 2026-11-30.
func day(t time.Time) string { return t.Format(time.DateOnly) }
