// Package wire is the part of MQTT 3.1.1 that the benchmark needs: a connection that
// publishes and subscribes at QoS 1, without goroutines and without an allocation per
// message. It is the upper limit for clients, and the subscriber, which must not be the
// slowest part.
//
// A Conn is for one goroutine that reads and one that writes.
package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// Types of packets: MQTT 3.1.1, section 2.2.1, in the upper four bits.
const (
	connect   = 0x10
	connack   = 0x20
	Publish   = 0x30
	Puback    = 0x40
	subscribe = 0x82
	Suback    = 0x90
)

// A Conn is a connection to a broker.
type Conn struct {
	net.Conn
	in  *bufio.Reader
	Out *bufio.Writer
}

// Dial connects. A session that is not clean is kept after the connection has ended.
func Dial(address, clientID string, clean bool) (*Conn, error) {
	socket, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: socket, in: bufio.NewReaderSize(socket, 64<<10), Out: bufio.NewWriterSize(socket, 64<<10)}
	body := append(text(nil, "MQTT"), 4, 0, 0, 0) // level, flags, no keep alive
	if clean {
		body[7] = 2
	}
	c.Out.Write(packet(nil, connect, text(body, clientID)))
	err = c.Out.Flush()
	if err == nil {
		var kind byte
		if kind, body, err = c.Read(); err == nil && (kind != connack || len(body) != 2 || body[1] != 0) {
			err = fmt.Errorf("CONNECT is answered by %x % x", kind, body)
		}
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return c, nil
}

// text is a string with its length.
func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// packet is a packet with its header: section 2.2.3.
func packet(b []byte, kind byte, body []byte) []byte {
	b = append(b, kind)
	n := len(body)
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), body...)
}

// Read returns the next packet: its type without flags, and its body, which is valid
// until the next call.
func (c *Conn) Read() (kind byte, body []byte, err error) {
	if kind, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(c.in)
	if err != nil || size > 1<<20 {
		return 0, nil, fmt.Errorf("a packet of %d bytes: %w", size, err)
	}
	if body, err = c.in.Peek(int(size)); err == nil {
		_, err = c.in.Discard(int(size))
		return kind & 0xf0, body, err
	}
	body = make([]byte, size)
	_, err = io.ReadFull(c.in, body)
	return kind & 0xf0, body, err
}

// Waiting reports whether data of another packet has arrived.
func (c *Conn) Waiting() bool { return c.in.Buffered() > 0 }

// Subscribe subscribes to all messages at QoS 1, and waits for the answer.
func (c *Conn) Subscribe() error {
	c.Out.Write(packet(nil, subscribe, append(text([]byte{0, 1}, "#"), 1)))
	if err := c.Out.Flush(); err != nil {
		return err
	}
	kind, body, err := c.Read()
	if err == nil && (kind != Suback || body[len(body)-1] > 2) {
		err = fmt.Errorf("SUBSCRIBE is answered by %x % x", kind, body)
	}
	return err
}

// Send writes a PUBLISH at QoS 1; buf is scratch space, and is returned.
func (c *Conn) Send(buf []byte, topic string, id uint16, payload []byte) []byte {
	buf = append(buf[:0], Publish|2)
	n := 2 + len(topic) + 2 + len(payload)
	for ; n > 127; n >>= 7 {
		buf = append(buf, byte(n)|0x80)
	}
	buf = text(append(buf, byte(n)), topic)
	buf = append(binary.BigEndian.AppendUint16(buf, id), payload...)
	c.Out.Write(buf) // Flush returns its error
	return buf
}

// Acknowledge writes a PUBACK for the body of a PUBLISH at QoS 1, and returns its
// topic and payload.
func (c *Conn) Acknowledge(body []byte) (topic, payload []byte) {
	n := 2 + int(binary.BigEndian.Uint16(body))
	c.Out.Write([]byte{Puback, 2, body[n], body[n+1]})
	return body[2:n], body[n+2:]
}
