package mqtt

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// acceptEach listens on a TCP port, and calls f for each connection before it closes it.
func acceptEach(t *testing.T, f func(net.Conn)) (address string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() { f(c); c.Close() }()
		}
	}()
	return l.Addr().String(), connections
}

// refusing is a broker without TLS that closes the connection without CONNACK for a
// CONNECT that it does not take.
func refusing(takes func(connect []byte) bool) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		head, err := in.Peek(2)
		if err != nil || head[0] != 0x10 || head[1] >= 0x80 {
			return
		}
		connect := make([]byte, 2+int(head[1]))
		if _, err := io.ReadFull(in, connect); err != nil || !takes(connect) {
			return
		}
		c.Write([]byte{0x20, 2, 0, 0})
		io.Copy(io.Discard, in)
	}
}

// flagsOf are the flags of CONNECT. MQTT 3.1.1, section 3.1.2.3.
func flagsOf(connect []byte) byte { return connect[9] }

const (
	flagWill   = 0x04
	flagQoS1   = 0x08
	flagRetain = 0x20
)

func all([]byte) bool { return true }

// TestDiagnosisFindsWhyAServerDoesNotAnswer: the causes that MQTT 3.1.1 has no
// return code for.
func TestDiagnosisFindsWhyAServerDoesNotAnswer(t *testing.T) {
	a := newAuthority(t)
	pair := a.issue(t, "broker", x509.Certificate{IPAddresses: loopback})
	secure, _ := acceptor(t, &tls.Config{Certificates: []tls.Certificate{pair}})
	web := &http.Server{Handler: http.NotFoundHandler()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go web.Serve(listener)
	t.Cleanup(func() { web.Close() })
	secureWeb := &http.Server{Handler: http.NotFoundHandler()}
	secureListener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	go secureWeb.Serve(secureListener)
	t.Cleanup(func() { secureWeb.Close() })
	plain := func(takes func([]byte) bool) string { address, _ := acceptEach(t, refusing(takes)); return address }
	var largest atomic.Int32
	for _, c := range []struct{ name, scheme, address, want string }{
		{"plain, to a port for TLS", "mqtt", secure.Host, "this port speaks TLS: write mqtts://"},
		{"plain, to https", "ws", secureListener.Addr().String(), "this port speaks TLS: write wss://"},
		{"TLS, to a port without", "mqtts", plain(all), "this port speaks MQTT without TLS"},
		{"TLS, to http", "mqtts", listener.Addr().String(), "this port answers HTTP without TLS"},
		{"wss, to http", "wss", listener.Addr().String(), "this port answers HTTP without TLS"},
		{"MQTT, to http", "mqtt", listener.Addr().String(), "this port speaks HTTP: write ws://"},
		{"a retained will", "mqtt", plain(func(c []byte) bool { return flagsOf(c)&flagRetain == 0 }),
			"set mqtt.retain: false"},
		{"a will at QoS 1", "mqtt", plain(func(c []byte) bool { return flagsOf(c)&flagQoS1 == 0 }),
			"needs a broker with QoS 1"},
		{"a large packet", "mqtt", plain(func(c []byte) bool { return len(c) <= 30 }), "no CONNECT of 48 bytes"},
		{"anything", "mqtt", plain(func(c []byte) bool { largest.Store(int32(len(c))); return false }),
			"the user name or a packet of 48 bytes"},
	} {
		opt := Broker{ClientID: "porch", KeepAlive: 15e9,
			Servers: []*url.URL{{Scheme: c.scheme, Host: c.address, Path: "/mqtt"}}, TLS: TLS{CA: a.path("ca.pem")}}
		opt.Limits = opt.limits()
		opt.Limits.Connect = 5 * time.Second // some servers wait for more
		will := Message{Topic: "porch/agent/status", Payload: []byte("offline"), Retain: true}
		_, err := NewDialer(opt).Dial(t.Context(), will)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
	if n := int(largest.Load()); n != 48-2-len("porch/agent/status")-2-len("offline") { // the last had no will
		t.Errorf("a CONNECT without a will has %d bytes", n)
	}
}

// TestADiagnosisIsNotRepeatedAtEachAttempt, but again after the server has accepted
// a connection.
func TestADiagnosisIsNotRepeatedAtEachAttempt(t *testing.T) {
	var takes atomic.Bool
	address, connections := acceptEach(t, refusing(func(c []byte) bool {
		return takes.Load() || flagsOf(c)&flagRetain == 0
	}))
	dial := NewDialer(Broker{ClientID: "porch", KeepAlive: 15e9,
		Servers: []*url.URL{{Scheme: "mqtt", Host: address}}}).Dial
	will := Message{Topic: "porch/agent/status", Payload: []byte("offline"), Retain: true}
	for range 2 {
		before := connections.Load()
		for range 10 {
			if _, err := dial(t.Context(), will); err == nil || !strings.Contains(err.Error(), "mqtt.retain: false") {
				t.Fatal(err)
			}
		}
		if n := connections.Load() - before; n > 10+4 {
			t.Errorf("%d connections for ten attempts", n)
		}
		takes.Store(true)
		conn, err := dial(t.Context(), will)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		takes.Store(false)
	}
}
