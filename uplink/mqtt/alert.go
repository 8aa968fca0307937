package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Alerts that the other end may send: RFC 8446, section 6.
const (
	alertHandshakeFailure   tls.AlertError = 40
	alertBadCertificate     tls.AlertError = 42
	alertUnsupported        tls.AlertError = 43
	alertRevoked            tls.AlertError = 44
	alertExpired            tls.AlertError = 45
	alertCertificateUnknown tls.AlertError = 46
	alertUnknownCA          tls.AlertError = 48
	alertAccessDenied       tls.AlertError = 49
	alertDecrypt            tls.AlertError = 51 // the signature of our certificate's key
	alertProtocolVersion    tls.AlertError = 70
	alertInsufficient       tls.AlertError = 71
	alertUnrecognizedName   tls.AlertError = 112
	alertCertRequired       tls.AlertError = 116
	alertNoProtocol         tls.AlertError = 120
)

// alertOf returns the alert with which the other end ended a TLS connection; ok is
// false if err is something else. crypto/tls returns alerts of the other end in a
// private type whose text is that of [tls.AlertError], so all codes are compared.
func alertOf(err error) (alert tls.AlertError, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	for code := range 256 {
		if a := tls.AlertError(code); a.Error() == op.Err.Error() {
			return a, true
		}
	}
	return 0, false
}

// Explanations that more than one alert has.
const (
	wantsCert = "the broker wants a client certificate: set mqtt.tls.cert and mqtt.tls.key"
	noCipher  = "the broker and this node have no cipher suite in common, or no kind of key: see the broker's TLS " +
		"settings"
)

// explainAlert adds to an error what the broker's alert in it means, and which key
// of the configuration to change. It returns other errors unchanged. Only some
// alerts are about our certificate.
func (t TLS) explainAlert(err error, clock *clock.Timekeeper) error {
	alert, ok := alertOf(err)
	if !ok {
		return err
	}
	why := ""
	switch alert {
	case alertProtocolVersion:
		why = "the broker's TLS is older than 1.2, which is the oldest that is taken here"
	case alertInsufficient:
		why = noCipher
	case alertUnrecognizedName:
		why = "the broker has no certificate for the name that it is asked for: see mqtt.server and " +
			"mqtt.tls.server_name"
	case alertNoProtocol:
		why = "the broker does not take the protocol that mqtt.tls.alpn names"
	case alertHandshakeFailure: // OpenSSL says so in TLS 1.2 where a certificate is missing
		if why = noCipher; t.Cert == "" {
			why += "; or " + wantsCert
		}
	case alertBadCertificate, alertUnsupported, alertRevoked, alertExpired, alertCertificateUnknown, alertUnknownCA,
		alertAccessDenied, alertDecrypt, alertCertRequired:
		why = t.ourCertificate(clock)
	default:
		why = "the broker's log may say why"
	}
	return fmt.Errorf("%w: %s", err, why)
}

// ourCertificate returns why the broker may have refused our certificate, as a text
// for a person. It reads the files again: a certificate that has expired, or is not
// valid yet, is the likely reason, while some brokers only send bad_certificate.
func (t TLS) ourCertificate(clock *clock.Timekeeper) string {
	if t.Cert == "" {
		return wantsCert
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	pair, err := t.pair(ctx)
	if err != nil {
		return err.Error()
	}
	switch now := time.UnixMilli(clock.Now().Unix); {
	case now.After(pair.Leaf.NotAfter):
		return fmt.Sprintf("our certificate %s has expired on %s: renew it", t.Cert, day(pair.Leaf.NotAfter.UTC()))
	case now.Before(pair.Leaf.NotBefore):
		return fmt.Sprintf("our certificate %s is valid from %s, and the clock of this machine says %s: see "+
			"timedatectl",
			t.Cert, day(pair.Leaf.NotBefore.UTC()), day(now.UTC()))
	}
	return fmt.Sprintf("the broker does not take our certificate %s: see who signed it, and the broker's log", t.Cert)
}

// explainBroker adds to an error which key to set if the broker's certificate is not
// trusted or has another name. It returns other errors unchanged.
func explainBroker(err error) error {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%w: set mqtt.tls.ca to a file with the certificate of the authority that signed the "+
			"broker's", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w: use a name of the certificate in mqtt.server, or set mqtt.tls.server_name to it", err)
	}
	return err
}
