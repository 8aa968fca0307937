package mqtt

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"testing"
)

func TestLookUpReturnsAnAddressAsItIs(t *testing.T) {
	for host, want := range map[string]string{"127.0.0.1:1883": "127.0.0.1", "[::1]:8883": "::1"} {
		got, err := Broker{}.LookUp(t.Context(), &url.URL{Scheme: "mqtt", Host: host})
		if !slices.Equal(got, []netip.Addr{netip.MustParseAddr(want)}) || err != nil {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
}

func TestPortOfEachScheme(t *testing.T) {
	for text, want := range map[string]string{
		"mqtts://a": "8883", "mqtt://a": "1883", "wss://a/mqtt": "443", "ws://a:9001": "9001",
	} {
		server, err := url.Parse(text)
		if got := port(server); got != want || err != nil {
			t.Errorf("%s: port %s, want %s", text, got, want)
		}
	}
}

func TestReachFailsAtAClosedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, here := &url.URL{Scheme: "mqtt", Host: l.Addr().String()}, netip.MustParseAddr("127.0.0.1")
	if err := (Broker{}).Reach(t.Context(), server, here); err != nil {
		t.Errorf("a port that listens: %v", err)
	}
	l.Close()
	if err := (Broker{}).Reach(t.Context(), server, here); err == nil {
		t.Error("a port that does not listen is reached")
	}
}
