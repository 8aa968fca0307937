package mqtt5

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// A form is how the value of a property is encoded. A positive one is the bytes of an
// integer.
type form int8

const (
	formText   form = -1 // a UTF-8 string with its length in front
	formBinary form = -2 // bytes with their length in front
	formPair   form = -3 // two UTF-8 strings
	formVarint form = -4 // a variable byte integer
)

// A property is what a broker may send: MQTT 5, section 2.2.2.2.
type property struct {
	form form
	in   uint16 // a bit for each type of packet that may have it
}

// Types of packets: MQTT 5, section 2.1.2.
const (
	connack    = 2
	publish    = 3
	puback     = 4
	suback     = 9
	unsuback   = 11
	pingresp   = 13
	disconnect = 14
)

// The properties that are named in this package.
const (
	propPayloadFormat  = 0x01
	propExpiry         = 0x02
	propResponseTopic  = 0x08
	propCorrelation    = 0x09
	propReceiveMaximum = 0x21
	propTopicAlias     = 0x23
	propMaxQoS         = 0x24
	propRetain         = 0x25
	propUser           = 0x26
	propMaxPacket      = 0x27
	propWildcard       = 0x28
	propSubscriptionID = 0x29
	propShared         = 0x2a
)

const (
	inPublish = 1 << publish
	inConnack = 1 << connack
	inAnswer  = 1<<connack | 1<<puback | 1<<suback | 1<<unsuback | 1<<disconnect
)

// properties are all that a broker may send to us, by identifier. A packet with another
// one cannot be read on, as its size is unknown. Session Expiry Interval is for CONNACK
// alone: a broker must not send it in DISCONNECT (section 3.14.2.2.2).
var properties = map[byte]property{
	propPayloadFormat: {1, inPublish}, propExpiry: {4, inPublish}, 0x03: {formText, inPublish},
	propResponseTopic: {formText, inPublish}, propCorrelation: {formBinary, inPublish}, 0x0b: {formVarint, inPublish},
	0x11: {4, inConnack}, 0x12: {formText, inConnack}, 0x13: {2, inConnack}, 0x15: {formText, inConnack},
	0x16: {formBinary, inConnack}, 0x1a: {formText, inConnack}, 0x1c: {formText, inConnack | 1<<disconnect},
	0x1f: {formText, inAnswer}, propReceiveMaximum: {2, inConnack}, 0x22: {2, inConnack},
	propTopicAlias: {2, inPublish}, propMaxQoS: {1, inConnack}, propRetain: {1, inConnack},
	propUser: {formPair, inAnswer | inPublish}, propMaxPacket: {4, inConnack}, propWildcard: {1, inConnack},
	propSubscriptionID: {1, inConnack}, propShared: {1, inConnack},
}

// names are those of the packets that a broker may send.
var names = map[byte]string{connack: "CONNACK", publish: "PUBLISH", puback: "PUBACK", suback: "SUBACK",
	unsuback: "UNSUBACK", pingresp: "PINGRESP", disconnect: "DISCONNECT"}

// Check returns what is wrong with a packet of a broker, as the object of "the broker
// sends"; nil if nothing is. The packet has to be complete, with its fixed header.
// The library accepts repeated properties, values out of range and texts that are
// not UTF-8 (read in v0.23.0), so it decodes only what was checked here.
func Check(packet []byte) error {
	kind := packet[0] >> 4
	name, known := names[kind]
	if !known {
		return fmt.Errorf("a packet that is not for us: type %d", kind)
	}
	if flags := packet[0] & 0x0f; kind != publish && flags != 0 {
		return fmt.Errorf("a %s with flags %#x", name, flags)
	}
	_, n := binary.Uvarint(packet[1:])
	body := packet[1+n:]
	at, behind, err := propertiesAt(kind, packet[0], body)
	switch {
	case err != nil:
		return err
	case at == len(body) && kind != publish:
		return nil // without properties, and without the byte that counts them
	}
	length, n := binary.Uvarint(body[at:])
	if n <= 0 || n > 4 || length > uint64(len(body)-at-n) {
		return fmt.Errorf("a %s with properties of no valid length", name)
	}
	block, rest := body[at+n:at+n+int(length)], body[at+n+int(length):]
	if kind != publish && len(rest) != behind {
		return fmt.Errorf("a %s with %d bytes behind its properties", name, len(rest))
	}
	return checkProperties(kind, block)
}

// propertiesAt returns where in a packet's body the length of its properties is, and
// how many bytes have to be behind them; those of PUBLISH are its payload. The error says
// that the body is too short, or has what we did not ask for.
func propertiesAt(kind, head byte, body []byte) (at, behind int, err error) {
	minLen := 0
	switch kind {
	case connack:
		at, minLen = 2, 3
	case puback: // the code and the properties may be missing
		at, minLen = min(3, len(body)), 2
	case suback, unsuback: // we ask for one topic at a time
		at, behind, minLen = 2, 1, 4
	case disconnect: // as for PUBACK
		at = min(1, len(body))
	case publish:
		return publishProperties(head, body)
	}
	if len(body) < minLen || kind == pingresp && len(body) > 0 {
		return 0, 0, fmt.Errorf("a %s of %d bytes", names[kind], len(body))
	}
	return at, behind, nil
}

// publishProperties is propertiesAt of a PUBLISH.
func publishProperties(head byte, body []byte) (at, behind int, err error) {
	if len(body) < 2 {
		return 0, 0, fmt.Errorf("a PUBLISH of %d bytes", len(body))
	}
	end := 2 + int(binary.BigEndian.Uint16(body))
	if at = end; head>>1&3 > 0 {
		at += 2 // the packet ID
	}
	switch {
	case at >= len(body):
		return 0, 0, fmt.Errorf("a topic of %d bytes in a PUBLISH of %d", end-2, len(body))
	case end == 2: // an alias may stand for it, and we allow none
		return 0, 0, errors.New("a PUBLISH without a topic")
	case at > end && binary.BigEndian.Uint16(body[end:]) == 0:
		return 0, 0, errors.New("a PUBLISH at QoS 1 with packet ID 0")
	case !validText(body[2:end]):
		return 0, 0, errors.New("a PUBLISH whose topic is not valid UTF-8")
	}
	return at, 0, nil
}

// checkProperties checks the properties of a packet: that it may have them, that each is
// there once, and the values.
func checkProperties(kind byte, block []byte) error {
	var seen uint64
	for len(block) > 0 {
		id := block[0]
		p, known := properties[id]
		if !known || p.in>>kind&1 == 0 {
			return fmt.Errorf("a %s with property 0x%02x, which it must not have", names[kind], id)
		}
		size, ok := valueSize(block[1:], p.form)
		if !ok {
			return fmt.Errorf("a %s whose property 0x%02x is cut short", names[kind], id)
		}
		value := block[1 : 1+size]
		switch {
		case seen>>id&1 == 1 && id != propUser && id != 0x0b: // these two may come more than once
			return fmt.Errorf("a %s with property 0x%02x twice", names[kind], id)
		case !validValue(id, p.form, value):
			return fmt.Errorf("a %s whose property 0x%02x has no valid value", names[kind], id)
		}
		seen |= 1 << id
		block = block[1+size:]
	}
	return nil
}

// valueSize returns how many bytes at the begin of b a value has. It is not ok if b is
// shorter.
func valueSize(b []byte, f form) (size int, ok bool) {
	texts := 0
	switch f {
	case formText, formBinary:
		texts = 1
	case formPair:
		texts = 2
	case formVarint:
		_, n := binary.Uvarint(b)
		return n, n > 0 && n <= 4
	default:
		size = int(f)
	}
	for range texts {
		if len(b) < size+2 {
			return 0, false
		}
		size += 2 + int(binary.BigEndian.Uint16(b[size:]))
	}
	return size, size <= len(b)
}

// validValue reports whether a value is one that the property may have.
func validValue(id byte, f form, value []byte) bool {
	switch id {
	case propPayloadFormat, propMaxQoS, propRetain, propWildcard, propSubscriptionID, propShared:
		return value[0] <= 1
	case propReceiveMaximum, propMaxPacket:
		return len(value) == 2 && binary.BigEndian.Uint16(value) > 0 ||
			len(value) == 4 && binary.BigEndian.Uint32(value) > 0
	case propTopicAlias:
		return false // CONNECT has no Topic Alias Maximum, so a broker must not use one
	}
	switch f {
	case formText:
		return validText(value[2:])
	case formPair:
		n := 2 + int(binary.BigEndian.Uint16(value))
		return validText(value[2:n]) && validText(value[n+2:])
	}
	return true
}

// validText reports whether bytes are a string that MQTT allows: section 1.5.4.
func validText(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
	}
	return utf8.Valid(b)
}
