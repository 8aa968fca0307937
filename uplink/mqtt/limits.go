package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
)

// BrokerLimits are the capabilities that a broker announces in CONNACK. MQTT 3.1.1
// does not have them, so they are requested with one CONNECT of MQTT 5.
type BrokerLimits struct {
	MaxPacket int  // bytes of a packet that it accepts: MQTT 5, section 3.2.2.3.6; 0: it names no limit
	MaxQoS    byte // 0, 1 or 2: section 3.2.2.3.4
	NoRetain  bool // it does not accept retained messages: section 3.2.2.3.5
}

// ErrNoLimits says that a broker does not announce its limits: it does not speak
// MQTT 5, or refuses the connection.
var ErrNoLimits = errors.New("the broker does not tell its limits")

// QueryLimits connects to a server with MQTT 5, our client ID and account and without
// a will, and disconnects when it has the answer. It ends another connection with
// that client ID: it must not be called while the agent runs.
//
// The error is [ErrNoLimits] if the broker answers without them; any other error
// says why there was no answer.
func (b Broker) QueryLimits(ctx context.Context, server *url.URL) (l BrokerLimits, err error) {
	password, err := b.Password.Read(ctx)
	if err != nil {
		return l, err
	}
	config, err := b.TLS.config(ctx, server.Hostname(), func([]Certificate) {})
	if err != nil {
		return l, err
	}
	conn, err := openSocket(ctx, b, server, config)
	if err != nil {
		return l, err
	}
	defer dropSocket(conn)
	defer context.AfterFunc(ctx, func() { dropSocket(conn) })()
	conn.SetDeadline(time.Now().Add(b.limits().Connect))
	if _, err := conn.Write(b.connect5(password)); err != nil {
		return l, err
	}
	body, err := readConnack(bufio.NewReader(conn))
	if err != nil {
		return l, fmt.Errorf("%w: %w", ErrNoLimits, err)
	}
	conn.Write([]byte{14 << 4, 0}) // DISCONNECT, in order; the socket is closed anyway
	return limitsIn(body)
}

// connect5 encodes a CONNECT packet of MQTT 5, section 3.1, with a clean start.
func (b Broker) connect5(password string) []byte {
	const cleanStart, hasPassword, hasUser = 1 << 1, 1 << 6, 1 << 7
	flags, user := byte(cleanStart), b.Username
	if user == "" && password != "" {
		user = b.ClientID
	}
	payload := appendText(nil, b.ClientID)
	if user != "" {
		flags |= hasUser
		payload = appendText(payload, user)
	}
	if password != "" {
		flags |= hasPassword
		payload = appendText(payload, password)
	}
	body := appendText(nil, "MQTT")
	body = append(body, 5, flags, 0, 30, 0) // 30 s of keepalive, no properties
	body = append(body, payload...)
	return append(binary.AppendUvarint([]byte{1 << 4}, uint64(len(body))), body...)
}

// appendText appends a text with its length in front. MQTT 5, section 1.5.4.
// appendText appends a UTF-8 encoded string: MQTT 5, section 1.5.4. It has at most
// 65,535 bytes.
func appendText(to []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(text))), text...)
}

// maxConnack bounds the bytes of a CONNACK. It has a few properties, of which only
// texts for a person may be long; a larger one is an error.
const maxConnack = 4 << 10

// readConnack reads one packet, which has to be a CONNACK, and returns it without
// its fixed header. The error is errNoMQTT if it is something else.
func readConnack(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	length, err := binary.ReadUvarint(r)
	switch {
	case err != nil:
		return nil, err
	case head != packetConnack<<4:
		return nil, errNoMQTT
	case length < 2 || length > maxConnack:
		return nil, fmt.Errorf("an answer to CONNECT of %d bytes", length)
	}
	body := make([]byte, length)
	_, err = io.ReadFull(r, body)
	return body, err
}

// The forms of a property's value: a positive number is the bytes of an integer;
// formText is a string or binary data with its length in front, formPair two
// strings. Negative, and the number of strings: propertySize relies on it.
const (
	formText = -1
	formPair = -2
)

// The properties that are read: MQTT 5, sections 3.2.2.3.4 to 3.2.2.3.6.
// The identifiers of the properties that are used: MQTT 5, section 2.2.2.2.
const (
	propertyMaxQoS    = 0x24
	propertyRetain    = 0x25
	propertyMaxPacket = 0x27
)

// connackProperties are the forms of all that may stand in a CONNACK: one that is not
// read has to be passed over.
// connackProperties are all properties that a CONNACK may have, with their forms:
// MQTT 5, section 3.2.2.3. An unknown one has no known size, so nothing behind it
// can be read.
var connackProperties = map[byte]int{
	0x11: 4, 0x12: formText, 0x13: 2, 0x15: formText, 0x16: formText, 0x1a: formText, 0x1c: formText, 0x1f: formText,
	0x21: 2, 0x22: 2, propertyMaxQoS: 1, propertyRetain: 1, 0x26: formPair, propertyMaxPacket: 4,
	0x28: 1, 0x29: 1, 0x2a: 1,
}

// limitsIn decodes the body of a CONNACK: a byte of flags, the code, and the
// properties. A broker that knows only MQTT 3.1.1 may answer without properties;
// that is [ErrNoLimits], as is any other answer without them.
func limitsIn(body []byte) (l BrokerLimits, err error) {
	l.MaxQoS = 2 // unless it says less
	if len(body) < 2 {
		return l, fmt.Errorf("%w: a CONNACK of %d bytes", ErrNoLimits, len(body))
	}
	if code := body[1]; code != 0 {
		return l, fmt.Errorf("%w: %w", ErrNoLimits, &RefusedError{Code: code})
	}
	length, n := binary.Uvarint(body[2:])
	if n <= 0 || length != uint64(len(body)-2-n) {
		return l, fmt.Errorf("%w: it answers as MQTT 3.1.1 does", ErrNoLimits)
	}
	for rest := body[2+n:]; len(rest) > 0; {
		form, known := connackProperties[rest[0]]
		size, ok := propertySize(rest[1:], form)
		if !known || !ok {
			return l, fmt.Errorf("%w: property 0x%02x of its CONNACK cannot be read", ErrNoLimits, rest[0])
		}
		value := rest[1 : 1+size]
		switch rest[0] {
		case propertyMaxQoS:
			l.MaxQoS = value[0]
		case propertyRetain:
			l.NoRetain = value[0] == 0
		case propertyMaxPacket:
			l.MaxPacket = int(min(binary.BigEndian.Uint32(value), 1<<30)) // an int has 32 bits on a Pi Zero
		}
		rest = rest[1+size:]
	}
	return l, nil
}

// propertySize returns how many bytes at the begin of b a property's value has. It
// reports false if b is shorter.
func propertySize(b []byte, form int) (size int, ok bool) {
	size = form
	texts := 0
	if form < 0 {
		size, texts = 0, -form
	}
	for range texts {
		if len(b) < size+2 {
			return 0, false
		}
		size += 2 + int(binary.BigEndian.Uint16(b[size:]))
	}
	return size, size <= len(b)
}
