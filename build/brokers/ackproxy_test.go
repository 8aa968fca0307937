package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
)

// packet encodes the length in as few bytes as possible.
func packet(head byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)
}

func publish(qos byte, id uint16, topic, payload string) []byte {
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	if qos > 0 {
		body = binary.BigEndian.AppendUint16(body, id)
	}
	return packet(packetPublish<<4|qos<<1, append(body, payload...))
}

func puback(id uint16) []byte {
	return packet(packetPuback<<4, binary.BigEndian.AppendUint16(nil, id))
}

// carry passes data through the proxy in one piece.
func carry(note func(byte, []byte), data ...[]byte) (rest []byte) {
	w := wire{note: note}
	w.read(bytes.Join(data, nil))
	return w.rest
}

func newSession() *session {
	return &session{ackProxy: &ackProxy{acked: map[key]bool{}}, sent: map[uint16]key{},
		aliases: map[uint16]string{}}
}

func TestOnlyPUBACKAcknowledgesAReading(t *testing.T) {
	s := newSession()
	carry(s.toServer,
		publish(1, 7, "porch/door", `{"boot":"1-a","seq":1}`),
		publish(1, 8, "porch/door", `{"boot":"1-a","seq":2}`))
	carry(s.toClient, puback(8))
	if one, two := s.hasAcked(key{"porch/door", "1-a", 1}), s.hasAcked(key{"porch/door", "1-a", 2}); one || !two {
		t.Errorf("acknowledged: 1 %v, 2 %v; want 2 alone", one, two)
	}
}

func TestPacketIDRefersToItsLatestMessage(t *testing.T) {
	s := newSession()
	for seq := 1; seq <= 2; seq++ {
		carry(s.toServer, publish(1, 7, "porch/door", fmt.Sprintf(`{"boot":"1-a","seq":%d}`, seq)))
	}
	carry(s.toClient, puback(7))
	if s.hasAcked(key{"porch/door", "1-a", 1}) || !s.hasAcked(key{"porch/door", "1-a", 2}) {
		t.Errorf("acknowledged: %v, want 2 alone", s.acked)
	}
}

// connect5 is the start of a CONNECT of MQTT 5, as far as a session parses it.
var connect5 = packet(packetConnect<<4, []byte("\x00\x04MQTT\x05\x02"))

// publish5 is publish with properties.
func publish5(id uint16, topic, properties, payload string) []byte {
	return publish(1, id, topic, string(binary.AppendUvarint(nil, uint64(len(properties))))+properties+payload)
}

// TestMQTT5PacketsAreParsed: properties are not part of the payload, an alias stands for its
// topic, and a PUBACK with a failure is no acknowledgement.
func TestMQTT5PacketsAreParsed(t *testing.T) {
	const expiry, user, alias = "\x02\x00\x00\x00\x01", "\x26\x00\x01k\x00\x02vw", "\x23\x00\x07"
	s := newSession()
	carry(s.toServer, connect5,
		publish5(7, "porch/door", user+alias, `{"boot":"1-a","seq":1}`),
		publish5(8, "", alias+expiry, `{"boot":"1-a","seq":2}`),
		publish5(9, "", "\x23\x00", `{"boot":"1-a","seq":3}`), // incomplete
		publish5(10, "porch/agent/status", expiry, "offline"))
	carry(s.toClient, puback(7), packet(packetPuback<<4, []byte{0, 8, 0x10}), packet(packetPuback<<4, []byte{0, 10, 0x87}))
	for seq, want := range []bool{1: true, 2: true, 3: false} {
		if got := s.hasAcked(key{"porch/door", "1-a", uint64(seq)}); got != want {
			t.Errorf("seq %d: acknowledged %v, want %v", seq, got, want)
		}
	}
	if s.hasAcked(key{topic: "porch/agent/status"}) {
		t.Error("what the broker refused is acknowledged")
	}
	if carry(s.toServer, packet(packetDisconnect<<4, []byte{4})); s.sawOrderlyEnd() {
		t.Error("a DISCONNECT that wants the will is a orderlyEnd")
	}
	if carry(s.toServer, packet(packetDisconnect<<4, nil)); !s.sawOrderlyEnd() {
		t.Error("a DISCONNECT in order is no orderlyEnd")
	}
}

func TestAfterCountsAcknowledgementsFromNow(t *testing.T) {
	s := newSession()
	carry(s.toClient, puback(1))
	begun := s.after(2)
	carry(s.toClient, puback(2))
	select {
	case <-begun:
		t.Fatal("begun after one")
	default:
	}
	carry(s.toClient, puback(3), puback(4))
	<-begun
}

func TestOrderlyEndIsOfflineAndThenDisconnect(t *testing.T) {
	disconnect := packet(packetDisconnect<<4, nil)
	offline, online := publish(1, 1, "porch/agent/status", "offline"), publish(0, 0, "porch/agent/status", "online")
	for name, c := range map[string]struct {
		sent [][]byte
		want bool
	}{
		"in order":             {[][]byte{online, offline, disconnect}, true},
		"without a word":       {[][]byte{online, disconnect}, false},
		"without DISCONNECT":   {[][]byte{online, offline}, false},
		"online in the middle": {[][]byte{offline, online, disconnect}, false},
	} {
		s := newSession()
		carry(s.toServer, c.sent...)
		if got := s.sawOrderlyEnd(); got != c.want {
			t.Errorf("%s: orderlyEnd %v, want %v", name, got, c.want)
		}
	}
}

func TestLongPacketIsParsed(t *testing.T) {
	long := publish(1, 9, "porch/door", `{"boot":"1-a","seq":3,"state":"`+string(bytes.Repeat([]byte("x"),
		20_000))+`"}`)
	s := newSession()
	if rest := carry(s.toServer, long, []byte{0x40}); !bytes.Equal(rest, []byte{0x40}) {
		t.Errorf("rest % x, want the begun packet", rest)
	}
	if want := (key{"porch/door", "1-a", 3}); s.sent[9] != want {
		t.Errorf("sent %v, want %v", s.sent[9], want)
	}
}

// What the proxy observes must not depend on how the network splits the data.
func FuzzWindowSeesTheSameHoweverItIsCut(f *testing.F) {
	f.Add(append(publish(1, 7, "a/b", `{"boot":"1-a","seq":1}`), packet(packetDisconnect<<4, nil)...), uint(5))
	f.Add(publish(0, 0, "a/agent/status", "offline"), uint(1))
	f.Add(puback(7), uint(2))
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x01}, uint(3))  // five bytes of length
	f.Add([]byte("0\xe6\xde\xdc\xf6A\r0000000000000"), uint(5)) // packets after something that is no packet
	f.Add([]byte{0x30, 0x03, 0x00, 0x09, 'a'}, uint(4))         // a topic that is longer than the packet
	f.Add([]byte{0x40, 0x01, 0x00}, uint(1))                    // half an identifier
	f.Add(append(bytes.Clone(connect5), publish5(1, "a", "\x23\x00\x07", "x")...), uint(9))
	f.Add(append(bytes.Clone(connect5), publish5(1, "a", "\x26\x00\xff", "x")...), uint(20))
	f.Fuzz(func(t *testing.T, data []byte, cut uint) {
		at := int(cut % uint(len(data)+1))
		whole, parts := newSession(), newSession()
		for _, both := range []func(*session) func(byte, []byte){
			func(s *session) func(byte, []byte) { return s.toServer },
			func(s *session) func(byte, []byte) { return s.toClient },
		} {
			carry(both(whole), data)
			w := wire{note: both(parts)}
			w.read(data[:at])
			w.read(data[at:])
		}
		if !reflect.DeepEqual(whole.sent, parts.sent) || !reflect.DeepEqual(whole.acked, parts.acked) ||
			whole.orderlyEnd != parts.orderlyEnd {
			t.Errorf("cut at %d of % x: %v %v, whole: %v %v", at, data, parts.sent, parts.acked, whole.sent,
				whole.acked)
		}
	})
}
