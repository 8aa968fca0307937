package mqtt

import (
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
)

// TestBindSetsInterfaceAndAddress: an address of ours, or an interface. Since Linux 5.7
// the latter needs no privilege.
func TestBindSetsInterfaceAndAddress(t *testing.T) {
	from := make(chan string, 1)
	f := mqtttest.NewBroker(t, func(s *mqtttest.Conn) {
		host, _, _ := net.SplitHostPort(s.RemoteAddr().String())
		from <- host
		s.AcceptConnect()
		s.Serve(nil)
	})
	defer f.Stop()
	server := &url.URL{Scheme: "mqtt", Host: f.Listener.Addr().String()}
	for bind, want := range map[string]string{"": "127.0.0.1", "127.0.0.2": "127.0.0.2", "lo": "127.0.0.1"} {
		conn, err := dial(t, Broker{Servers: []*url.URL{server}, Bind: bind})
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
		if _, err := dial(t, Broker{Servers: []*url.URL{server}, Bind: bind}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("bind %q: %v", bind, err)
		}
	}
}

// TestPreferredReportsThatTheFirstServerIsBack: a connection to the second server
// checks whether the first accepts connections again.
func TestPreferredReportsThatTheFirstServerIsBack(t *testing.T) {
	polite := func(n *atomic.Int32) func(*mqtttest.Conn) {
		return func(s *mqtttest.Conn) {
			if _, ok := s.Next(); ok { // else it was a check of the server
				n.Add(1)
				s.Send(0x20, 2, 0, 0)
				s.Serve(nil)
			}
		}
	}
	var first, second atomic.Int32
	a, b := mqtttest.NewBroker(t, polite(&first)), mqtttest.NewBroker(t, polite(&second))
	defer b.Stop()
	address := a.Listener.Addr().String()
	a.Stop() // the first is away
	opt := Broker{ClientID: "porch", KeepAlive: 15 * time.Second, Clock: clock.NewTimekeeper(clock.TrustAlways),
		Servers: []*url.URL{{Scheme: "mqtt", Host: address}, {Scheme: "mqtt", Host: b.Listener.Addr().String()}}}
	d := newDialer(opt, 50*time.Millisecond)
	conn, err := d.Dial(t.Context(), Message{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	back, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	a = mqtttest.Serve(back, polite(&first))
	defer a.Stop()
	select {
	case <-conn.Preferred():
	case <-conn.Done():
		t.Fatal(conn.Err())
	}
	again, err := d.Dial(t.Context(), Message{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if first.Load() != 1 || second.Load() != 1 {
		t.Errorf("%d connections to the first server, %d to the second", first.Load(), second.Load())
	}
}
