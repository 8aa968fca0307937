package uplink

import (
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// TestBindSaysWhereFrom: an address of ours, or an interface. Since Linux 5.7
// the latter needs no privilege.
func TestBindSaysWhereFrom(t *testing.T) {
	from := make(chan string, 1)
	f := newFakeBroker(t, func(s *brokerConn) {
		host, _, _ := net.SplitHostPort(s.RemoteAddr().String())
		from <- host
		s.acceptConnect()
		s.serve(nil)
	})
	defer f.close()
	server := &url.URL{Scheme: "mqtt", Host: f.listener.Addr().String()}
	for bind, want := range map[string]string{"": "127.0.0.1", "127.0.0.2": "127.0.0.2", "lo": "127.0.0.1"} {
		conn, err := dial(t, Options{Servers: []*url.URL{server}, Bind: bind})
		if err != nil {
			t.Errorf("bind %q: %v", bind, err)
			continue
		}
		if got := <-from; got != want {
			t.Errorf("bind %q: the broker sees %s, want %s", bind, got, want)
		}
		conn.Close()
	}
	for bind, want := range map[string]string{"wwan7": "mqtt.bind: interface wwan7", "192.0.2.7": "bind"} {
		if _, err := dial(t, Options{Servers: []*url.URL{server}, Bind: bind}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bind %q: %v", bind, err)
		}
	}
}

// TestTheLinkReturnsToTheFirstServer: while it is connected to the second, it
// looks whether the first answers again.
func TestTheLinkReturnsToTheFirstServer(t *testing.T) {
	polite := func(n *atomic.Int32) func(*brokerConn) {
		return func(s *brokerConn) {
			if _, ok := s.next(); ok { // else it was a look
				n.Add(1)
				s.write(0x20, 2, 0, 0)
				s.serve(nil)
			}
		}
	}
	var first, second atomic.Int32
	a, b := newFakeBroker(t, polite(&first)), newFakeBroker(t, polite(&second))
	defer b.close()
	address := a.listener.Addr().String()
	a.close() // the first is away
	opt := Options{ClientID: "porch", KeepAlive: 15 * time.Second, Topics: payload.DefaultPatterns, Clock: clock.NewTimekeeper(clock.TrustAlways),
		Servers: []*url.URL{{Scheme: "mqtt", Host: address}, {Scheme: "mqtt", Host: b.listener.Addr().String()}}}
	d := newDialer(opt, 50*time.Millisecond)
	conn, err := d.dial(t.Context(), Message{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	back, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	a = &fakeBroker{listener: back, script: polite(&first), acked: map[string]bool{}, open: map[net.Conn]bool{}, closing: make(chan struct{})}
	a.all.Go(a.accept)
	defer a.close()
	select {
	case <-conn.Better():
	case <-conn.Done():
		t.Fatal(conn.Err())
	}
	again, err := d.dial(t.Context(), Message{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if first.Load() != 1 || second.Load() != 1 {
		t.Errorf("%d connections to the first server, %d to the second", first.Load(), second.Load())
	}
}
