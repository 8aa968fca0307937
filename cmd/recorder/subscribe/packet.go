package subscribe

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Types of packets: MQTT 5, section 2.1.2; those of 3.1.1 are the same.
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typeSubscribe  = 8
	typeSuback     = 9
	typePingreq    = 12
	typePingresp   = 13
	typeDisconnect = 14
)

// Properties of MQTT 5: section 2.2.2.2.
const (
	propertySessionExpiry   = 0x11
	propertyServerKeepAlive = 0x13
	propertyReceiveMaximum  = 0x21
)

// maxControl bounds the bytes of a packet other than PUBLISH.
const maxControl = 64 << 10

// errPacket means that the broker sent invalid MQTT.
var errPacket = errors.New("the broker sends a packet that is not valid")

// A header is the fixed header of a packet: MQTT 5, section 2.1.
type header struct {
	kind, flags byte
	length      int // remaining length in bytes
}

// readHeader reads the fixed header of a packet. The sender may claim a length of up to
// 256 MB: the readers of the body must bound what they allocate.
func readHeader(r *bufio.Reader) (h header, err error) {
	// A byte of type and flags, then the length in seven bits a byte: section 2.1.4.
	first, err := r.ReadByte()
	if err != nil {
		return h, err
	}
	h.kind, h.flags = first>>4, first&0x0f
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return h, err
		}
		h.length |= int(b&0x7f) << shift
		if b < 0x80 {
			return h, nil
		}
		if shift == 21 {
			return h, fmt.Errorf("%w: its length has more than four bytes", errPacket)
		}
	}
}

// readControl reads the body of a packet other than PUBLISH, of at most maxControl bytes.
func readControl(r *bufio.Reader, h header) ([]byte, error) {
	if h.length > maxControl {
		return nil, fmt.Errorf("%w: type %d with %d bytes", errPacket, h.kind, h.length)
	}
	body := make([]byte, h.length)
	_, err := io.ReadFull(r, body)
	return body, err
}

// readPublish reads the body of a PUBLISH: topic, packet identifier, properties, payload. If
// the payload has more than limit bytes, it returns the first keep bytes, and discards the
// rest without allocating memory for it.
func readPublish(r *bufio.Reader, h header, version byte, limit, keep int) (m Message, err error) {
	// take checks each length against the rest of the packet before it allocates: the sender
	// may claim any length.
	left := h.length
	take := func(n int) []byte {
		if err != nil || n > left {
			if err == nil {
				err = fmt.Errorf("%w: a PUBLISH that ends too early", errPacket)
			}
			return make([]byte, 2)
		}
		left -= n
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return b
	}
	m.Topic = string(take(int(binary.BigEndian.Uint16(take(2)))))
	m.Retained, m.Duplicate = h.flags&1 != 0, h.flags&8 != 0
	// We subscribe at QoS 1, so the broker may not send QoS 2: MQTT-3.8.4-8.
	switch h.flags >> 1 & 3 {
	case 1:
		m.id = binary.BigEndian.Uint16(take(2))
		if err == nil && m.id == 0 {
			err = fmt.Errorf("%w: a PUBLISH at QoS 1 without an identifier", errPacket)
		}
	case 0:
	default:
		err = fmt.Errorf("%w: a PUBLISH at a QoS that was not subscribed to", errPacket)
	}
	// Only MQTT 5 has properties; in 3.1.1 the payload begins here.
	if version == 5 && err == nil {
		left, err = skipProperties(r, left)
	}
	if err != nil {
		return m, err
	}
	m.Size = left
	if left > limit {
		m.Payload = take(min(left, keep))
		if err == nil {
			_, err = r.Discard(left)
		}
		return m, err
	}
	m.Payload = take(left)
	return m, err
}

// skipProperties discards the properties of a PUBLISH, which the recorder does not use:
// MQTT 5, section 3.3.2.3. It returns the number of bytes that are left of the packet.
func skipProperties(r *bufio.Reader, left int) (int, error) {
	// The length has one to four bytes, which are part of what is left.
	length := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		left--
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return 0, fmt.Errorf("%w: properties without a length", errPacket)
		}
	}
	if length > left {
		return 0, fmt.Errorf("%w: properties that are longer than their packet", errPacket)
	}
	_, err := r.Discard(length)
	return left - length, err
}

// connackSizes are the properties that a CONNACK may have, with the size of their values in
// bytes: MQTT 5, section 3.2.2.3. A negative size is the number of strings.
var connackSizes = map[byte]int{
	0x11: 4, 0x12: -1, propertyServerKeepAlive: 2, 0x15: -1, 0x16: -1, 0x1a: -1, 0x1c: -1, 0x1f: -1,
	propertyReceiveMaximum: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x26: -2, 0x27: 4, 0x28: 1, 0x29: 1, 0x2a: 1,
}

// serverKeepAlive returns the Server Keep Alive in the body of a CONNACK of MQTT 5: the
// keepalive to use in place of ours, in seconds. It is 0 if there is none, or if the body is
// not valid.
func serverKeepAlive(body []byte) (seconds uint16) {
	// Flags and code, then the length of the properties, then these.
	length, n := binary.Uvarint(body[2:])
	if n <= 0 || length != uint64(len(body)-2-n) {
		return 0
	}
	for rest := body[2+n:]; len(rest) > 0; {
		size, known := connackSizes[rest[0]]
		at := 1
		for ; size < 0 && len(rest) >= at+2; size++ {
			at += 2 + int(binary.BigEndian.Uint16(rest[at:]))
		}
		if !known || size < 0 || len(rest) < at+size {
			return 0
		}
		if rest[0] == propertyServerKeepAlive {
			seconds = binary.BigEndian.Uint16(rest[at:])
		}
		rest = rest[at+size:]
	}
	return seconds
}

// packet puts a fixed header in front of a body.
func packet(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

// appendText appends a string with its length in front: MQTT 5, section 1.5.4. The text has at
// most 65,535 bytes; package config checks that.
func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// connect encodes a CONNECT that resumes the session, or begins one that never expires.
// keepAlive is in seconds, window in messages.
func connect(version byte, clientID, username, password string, keepAlive, window uint16) []byte {
	const hasPassword, hasUser = 1 << 6, 1 << 7
	var flags byte // no clean start, no will
	// MQTT-3.1.2-22 of 3.1.1 forbids a password without a user name.
	if username == "" && password != "" {
		username = clientID
	}
	payload := appendText(nil, clientID)
	if username != "" {
		flags |= hasUser
		payload = appendText(payload, username)
	}
	if password != "" {
		flags |= hasPassword
		payload = appendText(payload, password)
	}
	// Protocol name, version, flags and keepalive: sections 3.1.2.1 to 3.1.2.10.
	body := append(appendText(nil, "MQTT"), version, flags)
	body = binary.BigEndian.AppendUint16(body, keepAlive)
	if version == 5 {
		properties := []byte{propertySessionExpiry, 0xff, 0xff, 0xff, 0xff} // never
		properties = append(properties, propertyReceiveMaximum)
		properties = binary.BigEndian.AppendUint16(properties, window)
		body = append(append(body, byte(len(properties))), properties...)
	}
	return packet(typeConnect<<4, append(body, payload...))
}

// subscribe encodes a SUBSCRIBE at QoS 1. With MQTT 5 the broker sends retained messages only
// for a new subscription, except for the filter refreshed: section 3.8.3.1. With 3.1.1 it
// always sends them.
func subscribe(version byte, id uint16, filters []string, refreshed string) []byte {
	const retainIfNew = 1 << 4
	// The codes of SUBACK are in the order of the filters.
	body := binary.BigEndian.AppendUint16(nil, id)
	if version == 5 {
		body = append(body, 0) // no properties
	}
	for _, f := range filters {
		options := byte(1)
		if version == 5 && f != refreshed {
			options |= retainIfNew
		}
		body = append(appendText(body, f), options)
	}
	return packet(typeSubscribe<<4|2, body)
}

// appendPuback appends a PUBACK. In MQTT 5, no reason code means success.
func appendPuback(b []byte, id uint16) []byte {
	return binary.BigEndian.AppendUint16(append(b, typePuback<<4, 2), id)
}
