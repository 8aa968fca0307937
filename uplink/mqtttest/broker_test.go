package mqtttest

import (
	"bytes"
	"io"
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

// TestBrokerSpeaksTheVersionOfItsClient: what it reads of MQTT 5 is what the client sent,
// and its answers have the form of that version.
func TestBrokerSpeaksTheVersionOfItsClient(t *testing.T) {
	read := make(chan Packet, 10)
	f := NewBroker(t, func(s *Conn) {
		if s.AcceptConnect(propTopicAliasMaximum, 0, 9) {
			s.Serve(func(p Packet) bool { read <- p; return false })
		}
	})
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var sent, want bytes.Buffer
	sent.WriteString("\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x03abc")
	want.WriteString("\x20\x06\x00\x00\x03\x22\x00\x09")
	sent.WriteString("\x82\x07\x00\x01\x00\x00\x01t\x01") // SUBSCRIBE, no properties
	want.WriteString("\x90\x04\x00\x01\x00\x01")
	user := "\x26\x00\x01k\x00\x01v" // before the alias, to be skipped
	sent.WriteString("\x32\x11\x00\x01t\x00\x02\x0a" + user + "\x23\x00\x05x")
	want.WriteString("\x40\x02\x00\x02\x30\x05\x00\x01t\x00x")
	sent.WriteString("\x32\x0b\x00\x00\x00\x03\x05\x23\x00\x05\x01\x01y") // the alias, and a payload format
	want.WriteString("\x40\x02\x00\x03\x30\x05\x00\x01t\x00y")
	conn.Write(sent.Bytes())
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%v\ngot  % x\nwant % x", err, got, want.Bytes())
	}
	f.Stop()
	close(read)
	aliases := []uint16{0, 5, 5}
	for p := range read {
		if p.Topic != "t" || p.Alias != aliases[0] {
			t.Errorf("%+v, want topic t and alias %d", p, aliases[0])
		}
		aliases = aliases[1:]
	}
	if len(aliases) > 0 {
		t.Errorf("%d packets were not read", len(aliases))
	}
}

// propTopicAliasMaximum is the identifier of a property: MQTT 5, section 3.2.2.3.8.
const propTopicAliasMaximum = 0x22
