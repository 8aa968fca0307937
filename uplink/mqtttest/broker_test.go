package mqtttest

import (
	"net"
	"testing"
)

// TestBrokerDoesNotCountAClientOfTLS: it sends a ClientHello, whose bytes after the
// first few look like a PUBLISH with a topic longer than itself.
func TestBrokerDoesNotCountAClientOfTLS(t *testing.T) {
	f := NewBroker(t, func(s *Conn) { s.Next(); s.Serve(nil) })
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte{0x16, 3, 1, 2, 0, 0x30, 4, 0xff, 0xff, 'a', 'b'})
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came back", n)
	}
	f.Stop()
	if f.Connects != 0 {
		t.Errorf("%d connections are counted", f.Connects)
	}
}
