package mqtt

import (
	"crypto/x509"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/gorilla/websocket"
)

// ReasonOf returns a text that is the same for two errors with the same cause, so
// that a log does not repeat it at each attempt. It is not for a person. The text of
// an error does not serve: it has the ports of our end (net.OpError, and
// net.DNSError in its text), the time (x509, and what explainClock adds), and
// numbers of bytes.
func ReasonOf(err error) string {
	switch e := err.(type) {
	case *net.OpError:
		return e.Op + ": " + ReasonOf(e.Err)
	case *net.DNSError: // its text has the socket and the DNS server
		return fmt.Sprintf("lookup %s: not found %t, timeout %t", e.Name, e.IsNotFound, e.IsTimeout)
	case x509.CertificateInvalidError: // its text has the time
		return fmt.Sprintf("certificate invalid: reason %c", 'a'+rune(e.Reason))
	case *websocket.CloseError: // its text is the server's
		return "websocket closed: " + closeCode(e.Code)
	case *RefusedError:
		return "refused: " + closeCode(int(e.Code))
	}
	// The texts of the wrapped errors are set aside while the digits of this error are
	// replaced, because their own reasons keep some digits.
	text := err.Error()
	for _, inner := range unwrap(err) {
		text = strings.Replace(text, inner.Error(), "\x00", 1)
	}
	text = digits.ReplaceAllString(text, "#")
	for _, inner := range unwrap(err) {
		text = strings.Replace(text, "\x00", ReasonOf(inner), 1)
	}
	return text
}

// digits are the numbers in a text, none of which tells one cause from another.
var digits = regexp.MustCompile(`[0-9]+`)

// closeCode is the reason of an error whose code is its cause: a number that does
// count. It is returned before digits are replaced.
func closeCode(code int) string { return fmt.Sprintf("code %d", code) }

// unwrap returns the errors that an error wraps, in either form of package errors.
func unwrap(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return []error{inner}
		}
	}
	return nil
}
