package mqtt

import (
	"crypto/x509"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/gorilla/websocket"
)

// ReasonOf is what an error is about, for comparing one with another. The text
// will not do: it has the ports of our end (net.OpError, and net.DNSError in its
// text), the time (x509, and what we say about the clock), and numbers of bytes.
func ReasonOf(err error) string {
	switch e := err.(type) {
	case *net.OpError:
		return e.Op + ": " + ReasonOf(e.Err)
	case *net.DNSError: // its text has the socket and the server that was asked
		return fmt.Sprintf("lookup %s: not found %t, timeout %t", e.Name, e.IsNotFound, e.IsTimeout)
	case x509.CertificateInvalidError: // its text has the time
		return fmt.Sprintf("certificate invalid: reason %c", 'a'+rune(e.Reason))
	case *websocket.CloseError: // its text is the server's
		return "websocket closed: " + closeCode(e.Code)
	case *RefusedError:
		return "refused: " + closeCode(int(e.Code))
	}
	text := err.Error()
	for _, inner := range unwrap(err) {
		text = strings.Replace(text, inner.Error(), "\x00", 1)
	}
	text = digits.ReplaceAllString(text, "#") // of this error alone
	for _, inner := range unwrap(err) {
		text = strings.Replace(text, "\x00", ReasonOf(inner), 1)
	}
	return text
}

var digits = regexp.MustCompile(`[0-9]+`)

// closeCode keeps a code apart from others: digits do not count.
func closeCode(code int) string { return fmt.Sprintf("code %d", code) }

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
