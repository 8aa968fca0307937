package rawmqtt

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacketsAreReadInTheirVersion(t *testing.T) {
	for _, c := range []struct {
		version Version
		data    string
		want    string
		id      uint16
	}{
		{V3, "\x20\x02\x00\x05", "CONNACK 0x05", 0},
		{V3, "\x40\x02\x01\x02", "PUBACK", 0x102},
		{V3, "\x90\x03\x00\x01\x80", "SUBACK 0x80", 1},
		{V5, "\x20\x03\x00\x84\x00", "CONNACK 0x84", 0},
		{V5, "\x20\x02\x00\x01", "CONNACK 0x01", 0}, // from a broker that has only 3.1.1
		{V5, "\x40\x02\x00\x07", "PUBACK", 7},
		{V5, "\x40\x03\x00\x07\x87", "PUBACK 0x87", 7},
		{V5, "\x50\x03\x00\x07\x97", "PUBREC 0x97", 7},
		{V5, "\xe0\x00", "DISCONNECT", 0},
		{V5, "\xe0\x01\x8e", "DISCONNECT 0x8E", 0},
	} {
		p, err := ReadPacket(strings.NewReader(c.data), codecOf(c.version).parse)
		if err != nil || p.String() != c.want || p.ID != c.id {
			t.Errorf("version %v, % x: %v of %d, %v; want %s of %d", c.version, c.data, p, p.ID, err, c.want, c.id)
		}
	}
}

// TestAMessageIsReadAsItWasWritten: parse reads what publish writes, in both versions.
func TestAMessageIsReadAsItWasWritten(t *testing.T) {
	m := Message{Topic: "a/b", Payload: bytes.Repeat([]byte("x"), 20_000), QoS: 1, Expiry: 3}
	for _, v := range []Version{V3, V5} {
		p, err := ReadPacket(bytes.NewReader(codecOf(v).publish(m, 9)), codecOf(v).parse)
		if err != nil || p.Topic != m.Topic || !bytes.Equal(p.Payload, m.Payload) || p.ID != 9 || p.qos != 1 {
			t.Errorf("version %v: %v of %q with %d bytes, %v", v, p, p.Topic, len(p.Payload), err)
		}
	}
}

func TestAwaitKeepsOtherPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() {
			ReadPacket(far, codec5{}.parse)
			far.Write([]byte("\x20\x03\x00\x00\x00"))
			far.Write(codec5{}.publish(Message{Topic: "a"}, 0))
			far.Write([]byte("\x40\x02\x00\x01"))
		}()
		c, _, err := Connect(near, Options{Version: V5, ClientID: "c"}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Cut()
		if p, err := c.Await(Puback, time.Second); err != nil || p.Kind != Puback {
			t.Errorf("PUBACK: %v, %v", p, err)
		}
		if p, err := c.Next(time.Second); err != nil || p.Topic != "a" {
			t.Errorf("the message: %v, %v", p, err)
		}
		if _, err := c.Next(time.Second); !errors.Is(err, ErrNothing) {
			t.Errorf("%v, want ErrNothing", err)
		}
		far.Close()
		if _, err := c.Next(time.Second); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// FuzzReadPacket: any data from a broker gives a packet or an error.
func FuzzReadPacket(f *testing.F) {
	f.Add([]byte("\x20\x03\x00\x84\x00"))
	f.Add([]byte("\x40\x04\x00\x07\x87\x05"))         // properties that are longer than the packet
	f.Add([]byte("\x30\xff\xff\xff\xff\xff"))         // a length with too many bytes
	f.Add([]byte("\x20\x06\x00\x00\x03\x21\x00\x14")) // Receive Maximum
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []Version{V3, V5} {
			p, err := ReadPacket(bytes.NewReader(data), codecOf(v).parse)
			if err == nil && p.Kind != data[0]>>4 {
				t.Errorf("version %v: % x is read as %v", v, data, p)
			}
		}
	})
}
