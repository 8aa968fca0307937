package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
	"golang.org/x/net/dns/dnsmessage"
)

// announce answers by multicast DNS on the loopback interface for one host.
func announce(t *testing.T, host string, addrs ...string) {
	t.Helper()
	conn, err := net.ListenMulticastUDP("udp4", &net.Interface{Index: 1, Name: "lo"},
		&net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		m := make([]byte, 9000)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(m)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(m[:n]) != nil || q.Response || len(q.Questions) != 1 ||
				q.Questions[0].Name.String() != host+"." || q.Questions[0].Type != dnsmessage.TypeA {
				continue
			}
			q.Response = true
			for _, a := range addrs {
				q.Answers = append(q.Answers,
					dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name,
						Class: dnsmessage.ClassINET, TTL: 10},
						Body: &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()}})
			}
			answer, err := q.Pack()
			if err != nil {
				t.Error(err)
			}
			conn.WriteToUDPAddrPort(answer, from)
		}
	}()
}

// The host's first address is one where nobody listens; the name is that in the
// certificate.
func TestDialFindsALocalName(t *testing.T) {
	announce(t, "porch-broker.local", "127.0.0.2", "127.0.0.1")
	a := newAuthority(t)
	secure, _ := acceptor(t,
		&tls.Config{Certificates: []tls.Certificate{a.issue(t, "broker",
			x509.Certificate{DNSNames: []string{"porch-broker.local"}})}})
	f := mqtttest.NewBroker(t, func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(nil)
	})
	defer f.Stop()
	for scheme, address := range map[string]string{"mqtts": secure.Host, "mqtt": f.Listener.Addr().String()} {
		_, port, _ := net.SplitHostPort(address)
		server := &url.URL{Scheme: scheme, Host: "Porch-Broker.local:" + port}
		if _, err := dial(t, Broker{Servers: []*url.URL{server}, TLS: TLS{CA: a.path("ca.pem")},
			Bind: "lo"}); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// The log says each reason once: the text of it does not change from attempt to
// attempt.
func TestDialErrorNamesAnUnknownLocalName(t *testing.T) {
	server := &url.URL{Scheme: "mqtt", Host: "porch-nobody.local:1883"}
	opt := Broker{Servers: []*url.URL{server}, Bind: "lo", Clock: clock.NewTimekeeper(clock.TrustAlways)}
	_, err := dial(t, opt)
	var unknown *net.DNSError
	if !errors.As(err, &unknown) || unknown.Name != "porch-nobody.local" || !strings.Contains(err.Error(),
		"by multicast DNS on lo") {
		t.Fatal(err)
	}
}

// One address swallows what is sent to it: the next is tried beside it, and
// nothing is left of the first.

// One address swallows what is sent to it: the next is tried beside it, and
// nothing is left of the first.
func TestDialDoesNotWaitForASilentAddress(t *testing.T) {
	f := mqtttest.NewBroker(t, func(s *mqtttest.Conn) { s.Serve(nil) })
	defer f.Stop()
	_, port, _ := net.SplitHostPort(f.Listener.Addr().String())
	d := &tcpDialer{}
	d.ControlContext = func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		if strings.HasPrefix(address, "127.0.0.2:") {
			<-ctx.Done()
		}
		return ctx.Err()
	}
	conn, err := d.dialAny(t.Context(), "tcp", []netip.Addr{netip.MustParseAddr("127.0.0.2"),
		netip.MustParseAddr("127.0.0.1")}, port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestDialRepeatsAnAttemptThatIsLost: the first packet of the first attempts is
// swallowed, as on a link that is not back yet.
func TestDialRepeatsAnAttemptThatIsLost(t *testing.T) {
	f := mqtttest.NewBroker(t, func(s *mqtttest.Conn) { s.Serve(nil) })
	defer f.Stop()
	var attempts atomic.Int32
	d := &tcpDialer{}
	d.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		if attempts.Add(1) == 1 {
			<-ctx.Done()
		}
		return ctx.Err()
	}
	conn, err := d.DialContext(t.Context(), "tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if n := attempts.Load(); n < 2 {
		t.Errorf("%d attempts, want two or more", n)
	}
}
