package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// lookup queries a DNS server that does not exist.
func lookup(t *testing.T, name string) error {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := server.LocalAddr().String()
	server.Close()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", address)
	}}
	_, err = (&net.Dialer{Resolver: r}).Dial("tcp", name+":1883")
	if err == nil || !strings.Contains(err.Error(), "->") {
		t.Fatalf("looking up %s: %v, want an error with the socket in it", name, err)
	}
	return err
}

// expired is what a client says of a certificate at some time.
func expired(t *testing.T, now time.Time) error {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	if _, err = cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err == nil {
		t.Fatal("it is valid")
	}
	return explainClock(&tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{cert}, Err: err},
		clock.NewTimekeeper(clock.TrustAlways))
}

func dialError(from, to int, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err),
		Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: from},
		Addr:   &net.TCPAddr{IP: net.IPv4(10, 0, 0, byte(to)), Port: 1883}}
}

func servers(a, b error) error { return fmt.Errorf("a: %w; b: %w", a, b) }

// TestReasonOfIsEqualForTheSameCause: what is in the text and not in the reason.
func TestReasonOfIsEqualForTheSameCause(t *testing.T) {
	now := time.Now()
	for name, pair := range map[string][2]error{
		"the socket of a lookup":    {lookup(t, "broker.test"), lookup(t, "broker.test")},
		"the time of a certificate": {expired(t, now), expired(t, now.Add(time.Minute))},
		"both of two servers": {servers(lookup(t, "a.test"), expired(t, now)), servers(lookup(t, "a.test"),
			expired(t, now.Add(time.Hour)))},
		"our port, and one of many": {dialError(40001, 2, syscall.ECONNREFUSED),
			dialError(40002, 3, syscall.ECONNREFUSED)},
		"bytes that were not taken": {fmt.Errorf("the link has not taken %d bytes in 10s", 4096),
			fmt.Errorf("the link has not taken %d bytes in 10s", 17)},
		"the size of a packet": {fmt.Errorf("lost: %w", ProtocolErrorf("a packet of %d bytes", 9)),
			fmt.Errorf("lost: %w", ProtocolErrorf("a packet of %d bytes", 10))},
		"what a server says it is": {&websocket.CloseError{Code: 1001, Text: "request 7f3a"},
			&websocket.CloseError{Code: 1001, Text: "request 91c0"}},
		"the day of the clock": {errors.New("it says 2026-11-30"), errors.New("it says 2026-12-01")},
		"a reset, by port, in a loss": {fmt.Errorf("connection lost: %w", dialError(1, 2, syscall.ECONNRESET)),
			fmt.Errorf("connection lost: %w", dialError(3, 2, syscall.ECONNRESET))},
	} {
		if pair[0].Error() == pair[1].Error() {
			t.Errorf("%s: the texts are the same, so nothing is tested: %v", name, pair[0])
		}
		if a, b := ReasonOf(pair[0]), ReasonOf(pair[1]); a != b {
			t.Errorf("%s: two kinds\n%s\n%s", name, a, b)
		}
	}
}

func TestReasonOfDiffersForOtherCauses(t *testing.T) {
	seen := map[string]error{}
	for _, err := range []error{
		lookup(t, "a.test"), lookup(t, "b.test"),
		&net.DNSError{Name: "a.test", IsNotFound: true}, &net.DNSError{Name: "a.test", IsTimeout: true},
		expired(t, time.Now()), x509.UnknownAuthorityError{},
		x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign},
		dialError(1, 2, syscall.ECONNREFUSED), dialError(1, 2, syscall.EHOSTUNREACH),
		servers(ErrBrokerClosed, dialError(1, 2, syscall.ECONNREFUSED)),
		servers(ErrBrokerClosed, dialError(1, 2, syscall.EHOSTUNREACH)),
		ErrBrokerClosed, fmt.Errorf("%w before it acknowledged anything", ErrBrokerClosed),
		&RefusedError{Code: 4}, &RefusedError{Code: 5}, &RefusedError{Code: 0x87},
		&websocket.CloseError{Code: 1001}, &websocket.CloseError{Code: 1008},
	} {
		kind := ReasonOf(err)
		if seen[kind] != nil {
			t.Errorf("%v and %v are one kind: %s", err, seen[kind], kind)
		}
		seen[kind] = err
	}
}
