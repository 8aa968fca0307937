package uplink

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
)

// accepts5 serves after a CONNACK with properties, which are given as they are on the
// wire: MQTT 5, section 3.2.2.3.
func accepts5(properties ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		if s.AcceptConnect(properties...) {
			s.Serve(nil)
		}
	}
}

// refuses5 answers CONNECT with a reason code and properties.
func refuses5(code byte, properties ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		s.Next()
		s.SendPacket(0x20, append(binary.AppendUvarint([]byte{0, code}, uint64(len(properties))), properties...))
		s.Linger()
	}
}

// acks5 answers each PUBLISH with a body behind the packet ID: a code, and properties.
func acks5(body ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			if p.Kind != mqtttest.PublishPacket || p.ID == 0 {
				return false
			}
			if body[0] < 0x80 {
				s.NoteAcked(p)
			}
			return s.SendPacket(0x40, append([]byte{byte(p.ID >> 8), byte(p.ID)}, body...))
		})
	}
}

// grants5 answers each SUBSCRIBE with a body behind the packet ID.
func grants5(body ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			return p.Kind == mqtttest.SubscribePacket &&
				s.SendPacket(0x90, append([]byte{byte(p.ID >> 8), byte(p.ID)}, body...))
		})
	}
}

// ends5 sends DISCONNECT with a body to each message but those of the first second, as a
// broker does that has first accepted something.
func ends5(body ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		s.AcceptConnect()
		time.AfterFunc(time.Second, func() { s.SendPacket(0xe0, body); s.Conn.Close() })
		s.Serve(nil)
	}
}

// publishes5 sends a PUBLISH of a first byte and a body, and serves.
func publishes5(head byte, body ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		if s.AcceptConnect() {
			s.SendPacket(head, body)
			s.Serve(nil)
		}
	}
}

// text is a property that is a string, or bytes.
func text(id byte, value string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{id}, uint16(len(value))), value...)
}

// Identifiers of properties: MQTT 5, section 2.2.2.2.
const (
	propResponseTopic  = 0x08
	propCorrelation    = 0x09
	propSubscription   = 0x0b
	propExpiry         = 0x11
	propAssignedID     = 0x12
	propKeepAlive      = 0x13
	propAuthMethod     = 0x15
	propReference      = 0x1c
	propReason         = 0x1f
	propReceiveMaximum = 0x21
	propAliasMaximum   = 0x22
	propAlias          = 0x23
	propMaxQoS         = 0x24
	propRetain         = 0x25
	propUser           = 0x26
	propMaxPacket      = 0x27
)

// users are so many user properties, of 14 bytes each.
func users(n int) (all []byte) {
	for i := range n {
		all = append(all, propUser)
		all = append(all, fmt.Sprintf("\x00\x04k%03d\x00\x05value", i%1000)...)
	}
	return all
}

// elsewhere is the topic of a message without the properties and the payload.
const elsewhere = "\x00\x04else"

// hostileCases5 are what a broker of MQTT 5 may do besides hostileCases.
var hostileCases5 = versioned([]hostileCase{
	{name: "5: a property twice in CONNACK", script: accepts5(propReceiveMaximum, 0, 9, propReceiveMaximum, 0, 9),
		want: []string{"a CONNACK with property 0x21 twice"}, connects: maxFast},
	{name: "5: an unknown property", script: accepts5(0x7e, 1),
		want: []string{"property 0x7e, which it must not have"}, connects: maxFast},
	{name: "5: a property of another packet", script: accepts5(propAlias, 0, 1),
		want: []string{"property 0x23, which it must not have"}, connects: maxFast},
	{name: "5: a property that is cut short", script: accepts5(propReceiveMaximum, 1),
		want: []string{"property 0x21 is cut short"}, connects: maxFast},
	{name: "5: a text that is longer than the packet", script: accepts5(propReason, 0xff, 0xff, 'a'),
		want: []string{"property 0x1f is cut short"}, connects: maxFast},
	{name: "5: properties longer than CONNACK", script: replies(0x20, 3, 0, 0, 9),
		want: []string{"properties of no valid length"}, connects: maxFast},
	{name: "5: properties whose length has no end", script: replies(0x20, 7, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff),
		want: []string{"properties of no valid length"}, connects: maxFast},
	{name: "5: bytes behind the properties of CONNACK", script: replies(0x20, 5, 0, 0, 0, 1, 2),
		want: []string{"2 bytes behind its properties"}, connects: maxFast},
	{name: "5: the CONNACK of 3.1.1", script: replies(0x20, 2, 0, 0),
		want: []string{"the broker answers as MQTT 3.1.1 does"}, connects: maxFast},
	{name: "5: a reason that is not UTF-8", script: accepts5(text(propReason, "\xff\xfe")...),
		want: []string{"property 0x1f has no valid value"}, connects: maxFast},
	{name: "5: a reason with NUL", script: accepts5(text(propReason, "a\x00b")...),
		want: []string{"property 0x1f has no valid value"}, connects: maxFast},

	{name: "5: Receive Maximum 0", script: accepts5(propReceiveMaximum, 0, 0),
		want: []string{"property 0x21 has no valid value"}, connects: maxFast},
	{name: "5: Receive Maximum 1", script: receivesOne, keepsConnection: true, drains: true},
	{name: "5: Maximum Packet Size 0", script: accepts5(propMaxPacket, 0, 0, 0, 0),
		want: []string{"property 0x27 has no valid value"}, connects: maxFast},
	{name: "5: Maximum Packet Size 30", script: accepts5(propMaxPacket, 0, 0, 0, 30), keepsConnection: true,
		connects: maxFast, want: []string{"the broker takes 30"}},
	{name: "5: Maximum QoS 0", script: accepts5(propMaxQoS, 0), want: []string{"the broker takes no QoS 1"},
		connects: maxFast},
	{name: "5: Maximum QoS 2", script: accepts5(propMaxQoS, 2), want: []string{"property 0x24 has no valid value"},
		connects: maxFast},
	{name: "5: no retained messages", script: accepts5(propRetain, 0), keepsConnection: true, drains: true},
	{name: "5: Retain Available 7", script: accepts5(propRetain, 7),
		want: []string{"property 0x25 has no valid value"}, connects: maxFast},
	{name: "5: Server Keep Alive 0", script: accepts5(propKeepAlive, 0, 0), keepsConnection: true, drains: true},
	{name: "5: Server Keep Alive 1", script: accepts5(propKeepAlive, 0, 1), keepsConnection: true, drains: true,
		exact: true},
	{name: "5: Server Keep Alive 1, and no answer to pings", script: func(s *mqtttest.Conn) {
		s.AcceptConnect(propKeepAlive, 0, 1)
		s.Serve(func(p mqtttest.Packet) bool { return p.Kind == pingreq })
	}, drains: true, want: []string{"no PINGRESP in 1s"}, connects: 50},
	{name: "5: Server Keep Alive 65535", script: accepts5(propKeepAlive, 0xff, 0xff), keepsConnection: true,
		drains: true},
	{name: "5: Server Keep Alive 65535, and silence", script: func(s *mqtttest.Conn) {
		s.AcceptConnect(propKeepAlive, 0xff, 0xff)
		s.Linger()
	}, want: []string{"uplink down"}, connects: maxSlow},
	{name: "5: 65,535 topic aliases", script: accepts5(propAliasMaximum, 0xff, 0xff), keepsConnection: true,
		drains: true},
	{name: "5: an assigned client ID", script: accepts5(text(propAssignedID, "other")...), keepsConnection: true,
		drains: true},
	{name: "5: an assigned client ID of 65,535 bytes", keepsConnection: true, drains: true,
		script: accepts5(text(propAssignedID, strings.Repeat("x", 65_535))...)},
	{name: "5: 10,000 user properties", script: accepts5(users(10_000)...), keepsConnection: true, drains: true},
	{name: "5: more properties than a packet may have", script: accepts5(users(30_000)...),
		want: []string{"a packet of 420005 bytes: 262144 are taken at most"}, connects: maxFast},
	{name: "5: an authentication method", script: accepts5(text(propAuthMethod, "SCRAM")...), keepsConnection: true,
		connects: maxFast},
	{name: "5: a session that nobody has", script: func(s *mqtttest.Conn) {
		s.Next()
		s.Send(0x20, 3, 1, 0, 0)
		s.Serve(nil)
	}, keepsConnection: true, connects: maxFast},
	{name: "5: AUTH", script: replies(0xf0, 2, 0x18, 0), want: []string{"uplink down"}, connects: maxFast},

	{name: "5: refused, not authorised", script: refuses5(0x87), want: []string{"level=ERROR", "code 135"},
		connects: 6},
	{name: "5: refused with an unknown code", script: refuses5(0xc7), want: []string{"code 199"}, connects: 10},
	{name: "5: refused with a code that is no failure", script: refuses5(0x42), want: []string{"code 66"},
		connects: 10},
	{name: "5: refused, busy", script: refuses5(0x89), want: []string{"level=WARN", "code 137"}, connects: 10},
	{name: "5: refused with a reason of 60,000 bytes", connects: 6, not: strings.Repeat("y", 1000),
		script: refuses5(0x87, text(propReason, strings.Repeat("y", 60_000))...), want: []string{"yyyy"}},
	{name: "5: moved to a server that nobody knows", script: refuses5(0x9d, text(propReference, "evil.example:1883")...),
		want: []string{"evil.example:1883"}, connects: 10},
	{name: "5: moved to itself", connects: 10, want: []string{"code 157"}, script: func(s *mqtttest.Conn) {
		refuses5(0x9d, text(propReference, s.Listener.Addr().String())...)(s)
	}},

	{name: "5: each message denied", script: acks5(0x87), keepsConnection: true, connects: maxFast,
		want: []string{"not authorised"}},
	{name: "5: each message beyond a quota", script: acks5(0x97), keepsConnection: true, connects: maxFast,
		want: []string{"quota"}},
	{name: "5: each message of a wrong format", script: acks5(0x99), keepsConnection: true, connects: maxFast,
		want: []string{"format"}},
	{name: "5: nobody hears", script: acks5(0x10), keepsConnection: true},
	{name: "5: an unknown code for each message", script: acks5(0xc7), keepsConnection: true, connects: maxFast,
		want: []string{"code 199"}},
	{name: "5: an unknown code that is no failure", script: acks5(0x42), keepsConnection: true},
	{name: "5: PUBACK with a reason of 60,000 bytes", keepsConnection: true, connects: maxFast,
		not: strings.Repeat("z", 1000),
		script: acks5(append(binary.AppendUvarint([]byte{0x87}, 60_003), text(propReason, strings.Repeat("z",
			60_000))...)...)},
	{name: "5: PUBACK with a property twice", script: acks5(0, 8, propReason, 0, 1, 'a', propReason, 0, 1, 'b'),
		want: []string{"a PUBACK with property 0x1f twice"}, connects: maxFast},
	{name: "5: PUBACK with properties that are not there", script: acks5(0, 9),
		want: []string{"a PUBACK with properties of no valid length"}, connects: maxFast},
	{name: "5: PUBACK with Session Expiry", script: acks5(0, 5, propExpiry, 0, 0, 0, 1),
		want: []string{"a PUBACK with property 0x11, which it must not have"}, connects: maxFast},

	{name: "5: SUBACK without a code", script: grants5(0), want: []string{"SUBACK"}, connects: maxFast},
	{name: "5: SUBACK with two codes", script: grants5(0, 1, 1), want: []string{"SUBACK"}, connects: maxFast},
	{name: "5: SUBACK with an unknown code", script: grants5(0, 0xc7), keepsConnection: true,
		want: []string{"the broker refuses the subscription"}},

	{name: "5: a topic alias that we did not allow", want: []string{"property 0x23 has no valid value"},
		script: publishes5(0x30, []byte(elsewhere+"\x03\x23\x00\x01x")...), connects: maxFast},
	{name: "5: an alias in place of a topic", want: []string{"a PUBLISH without a topic"},
		script: publishes5(0x30, []byte("\x00\x00\x03\x23\x00\x01x")...), connects: maxFast},
	{name: "5: a message at QoS 2", script: publishes5(0x34, []byte(elsewhere+"\x00\x09\x00x")...),
		want: []string{"a message at QoS 2"}, connects: maxFast},
	{name: "5: a message at QoS 1 with packet ID 0", script: publishes5(0x32, []byte(elsewhere+"\x00\x00\x00x")...),
		want: []string{"a PUBLISH at QoS 1 with packet ID 0"}, connects: maxFast},
	{name: "5: a message whose topic is not UTF-8", script: publishes5(0x30, []byte("\x00\x02\xff\xfe\x00x")...),
		want: []string{"a PUBLISH whose topic is not valid UTF-8"}, connects: maxFast},
	{name: "5: a message with properties beyond its end", script: publishes5(0x30, []byte(elsewhere+"\x7fx")...),
		want: []string{"a PUBLISH with properties of no valid length"}, connects: maxFast},
	{name: "5: a message with 3,000 subscription identifiers", keepsConnection: true, drains: true,
		script: publishes5(0x30, message5(bytes.Repeat([]byte{propSubscription, 1}, 3000))...)},
	{name: "5: a response topic with wildcards and 60,000 bytes of correlation", keepsConnection: true, drains: true,
		script: publishes5(0x30, message5(append(text(propResponseTopic, "a/#"),
			text(propCorrelation, strings.Repeat("c", 60_000))...))...)},

	{name: "5: ends each session with a take-over", script: ends5(0x8e), want: []string{"code 142"},
		connects: maxFast, drains: true, waits: true},
	{name: "5: ends each session with an unknown code", script: ends5(0xc7), want: []string{"code 199"},
		connects: maxFast, drains: true},
	{name: "5: ends each session without a code", script: ends5(), want: []string{"without a reason"},
		connects: maxFast, drains: true},
	{name: "5: ends each session with Session Expiry", script: ends5(0, 5, propExpiry, 0, 0, 0, 1),
		want: []string{"property 0x11, which it must not have"}, connects: maxFast, drains: true},
	{name: "5: ends each session for an unknown server", connects: maxFast, drains: true,
		script: ends5(append([]byte{0x9c, 20}, text(propReference, "evil.example:1883")...)...),
		want:   []string{"evil.example:1883"}},
	{name: "5: 100,000 DISCONNECTs", script: sends(bytes.Repeat([]byte{0xe0, 0}, 100_000)...),
		want: []string{"without a reason"}, connects: maxFast},
})

// pingreq is the type of PINGREQ: MQTT 5, section 2.1.2.
const pingreq = 12

// message5 is the body of a message with properties and a payload of one byte.
func message5(properties []byte) []byte {
	body := binary.AppendUvarint([]byte(elsewhere), uint64(len(properties)))
	return append(append(body, properties...), 'x')
}

// receivesOne announces Receive Maximum 1, and ends the connection if there are more
// messages in flight.
func receivesOne(s *mqtttest.Conn) {
	s.AcceptConnect(propReceiveMaximum, 0, 1)
	for {
		p, ok := s.Next()
		if !ok {
			return
		}
		if p.Kind == mqtttest.PublishPacket && p.ID != 0 && s.Input.Buffered() > 0 {
			if next, err := s.Input.Peek(1); err == nil && next[0]>>4 == mqtttest.PublishPacket && next[0]&6 != 0 {
				s.SendPacket(0xe0, []byte{0x93}) // Receive Maximum exceeded
				return
			}
		}
		s.Answer(p)
	}
}

// versioned has all cases speak MQTT 5.
func versioned(cases []hostileCase) []hostileCase {
	for i := range cases {
		cases[i].version = mqtt.V5
	}
	return cases
}
