// Package rawmqtt is a client of MQTT 3.1.1 and 5 that sends single packets and returns
// single answers, so that a test sees the exact answers of a broker. It repeats nothing and
// does not reconnect.
package rawmqtt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A Version is a protocol level, as in CONNECT.
type Version byte

// The two versions: MQTT 3.1.1, section 3.1.2.2, and MQTT 5, section 3.1.2.2.
const (
	V3 Version = 4
	V5 Version = 5
)

func (v Version) String() string {
	if v == V3 {
		return "3.1.1"
	}
	return "5"
}

// Options are the fields of CONNECT.
type Options struct {
	Version            Version
	ClientID           string
	Username, Password string
	KeepSession        bool   // without clean session; with version 5, without clean start
	SessionExpiry      uint32 // in seconds; version 5 only
	Will               *Message
	WillDelay          uint32 // in seconds; version 5 only
}

// keepAlive is the keep-alive of every client, in seconds. It is longer than any client
// lives, so none has to send PINGREQ.
const keepAlive = 600

// A Message is a message to publish.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Expiry  uint32 // in seconds, 0 is never; version 5 only
}

// A Packet is a packet from the broker.
type Packet struct {
	Kind    byte // its type: MQTT 3.1.1, section 2.2.1
	Code    byte // reason code, or return code; of SUBACK, the first
	ID      uint16
	Topic   string // of PUBLISH
	Payload []byte // of PUBLISH
	Limits  Limits // of CONNACK
	Reason  string // the Reason String; version 5 only
	qos     byte   // of PUBLISH
}

// Limits are the limits in a CONNACK of version 5. nil: the broker did not send it.
type Limits struct {
	ReceiveMaximum, TopicAliasMaximum, ServerKeepAlive *uint16
	MaximumPacketSize                                  *uint32
	MaximumQoS, RetainAvailable, SharedAvailable       *byte
}

// Types of packets: MQTT 3.1.1, section 2.2.1; DISCONNECT from a broker: MQTT 5.
const (
	Connack    = 2
	Publish    = 3
	Puback     = 4
	Pubrec     = 5
	Suback     = 9
	Disconnect = 14
)

var kindNames = [16]string{"type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}

// String is the packet's name, with its code unless that is 0: "PUBACK 0x87".
func (p Packet) String() string {
	name := kindNames[p.Kind&15]
	if p.Code == 0 {
		return name
	}
	return fmt.Sprintf("%s 0x%02X", name, p.Code)
}

// ErrClosed means that the broker has closed the connection, ErrNothing that no packet came
// in time, and ErrMalformed that the broker sent something that is not a packet of the
// version.
var (
	ErrMalformed = errors.New("the broker sent a malformed packet")
	ErrClosed    = errors.New("the broker closed the connection")
	ErrNothing   = errors.New("the broker sent nothing")
)

// A codec converts packets of one version to bytes and back.
type codec interface {
	connect(Options) []byte
	publish(Message, uint16) []byte
	subscribe(filter string, id uint16) []byte
	parse(head byte, body []byte) (Packet, error)
}

func codecOf(v Version) codec {
	if v == V5 {
		return codec5{}
	}
	return codec3{}
}

// A Client is one connection. Its methods are for one goroutine.
type Client struct {
	conn    net.Conn
	codec   codec
	packets chan Packet // all except PINGRESP; closed at the end of the connection
	lastID  uint16
	backlog []Packet // packets that Await has read and not returned

	mu  sync.Mutex // for writes: the reader writes acknowledgements
	err error      // why the reader ended; set before packets is closed
}

// firstID is larger than the packet IDs of the broker's messages: mochi 2.7.9 refuses a
// SUBSCRIBE with the ID of a message that it has sent and that is not acknowledged.
const firstID = 10_000

// maxPackets is how many packets may be queued before the client stops reading.
const maxPackets = 10_000

// Connect sends CONNECT over a connection, which the client owns from now on, and returns
// the broker's answer: CONNACK, even if it is a refusal. It waits for at most the given
// time. The client is nil if there is an error.
func Connect(conn net.Conn, o Options, wait time.Duration) (*Client, Packet, error) {
	c := &Client{conn: conn, codec: codecOf(o.Version), lastID: firstID, packets: make(chan Packet, maxPackets)}
	if err := c.write(c.codec.connect(o)); err != nil {
		conn.Close()
		return nil, Packet{}, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	go c.read()
	p, err := c.Next(wait)
	if err == nil && p.Kind != Connack {
		err = fmt.Errorf("the answer to CONNECT is %v", p)
	}
	if err != nil {
		c.Cut()
		return nil, p, err
	}
	return c, p, nil
}

// write writes whole packets.
func (c *Client) write(packet []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(packet)
	return err
}

// read reads packets until the connection ends, and acknowledges messages of QoS 1.
func (c *Client) read() {
	defer close(c.packets)
	for {
		p, err := ReadPacket(c.conn, c.codec.parse)
		if err != nil {
			if c.err = err; !errors.Is(err, ErrMalformed) {
				c.err = fmt.Errorf("%w: %w", ErrClosed, err)
			}
			return
		}
		if p.Kind == Publish && p.qos == 1 {
			c.write([]byte{0x40, 2, byte(p.ID >> 8), byte(p.ID)})
		}
		c.packets <- p
	}
}

// ReadPacket reads one packet and parses it.
func ReadPacket[P any](r io.Reader, parse func(head byte, body []byte) (P, error)) (p P, err error) {
	one := [1]byte{}
	if _, err := io.ReadFull(r, one[:]); err != nil {
		return p, err
	}
	head, length := one[0], 0
	for shift := 0; ; shift += 7 {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return p, err
		}
		length |= int(one[0]&0x7f) << shift
		if one[0] < 0x80 {
			break
		}
		if shift == 21 { // four bytes at most: MQTT 3.1.1, section 2.2.3
			return p, fmt.Errorf("%w: its length has no end", ErrMalformed)
		}
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(length)); err != nil {
		return p, err
	}
	if p, err = parse(head, body.Bytes()); err != nil {
		return p, fmt.Errorf("%w: % x: %w", ErrMalformed, append([]byte{head}, body.Bytes()...), err)
	}
	return p, nil
}

// Next returns the next packet, [ErrClosed] at the end of the connection, or
// [ErrNothing] after the given time.
func (c *Client) Next(wait time.Duration) (Packet, error) {
	if len(c.backlog) > 0 {
		p := c.backlog[0]
		c.backlog = c.backlog[1:]
		return p, nil
	}
	return c.receive(time.After(wait))
}

func (c *Client) receive(late <-chan time.Time) (Packet, error) {
	select {
	case p, ok := <-c.packets:
		if !ok {
			return p, c.err
		}
		return p, nil
	case <-late:
		return Packet{}, ErrNothing
	}
}

// Await returns the next packet of a kind, or DISCONNECT; other packets that come before it
// are stored for Next. Errors are those of Next.
func (c *Client) Await(kind byte, wait time.Duration) (Packet, error) {
	for i, p := range c.backlog {
		if p.Kind == kind || p.Kind == Disconnect {
			c.backlog = append(c.backlog[:i:i], c.backlog[i+1:]...)
			return p, nil
		}
	}
	late := time.After(wait)
	for {
		p, err := c.receive(late)
		if err != nil || p.Kind == kind || p.Kind == Disconnect {
			return p, err
		}
		c.backlog = append(c.backlog, p)
	}
}

// Publish sends a message. It does not wait for an answer.
func (c *Client) Publish(m Message) error {
	c.lastID++
	return c.write(c.codec.publish(m, c.lastID))
}

// PublishInTwo sends the first bytes of a message, waits, and sends the rest. So an answer
// to the first bytes is read before the broker resets a connection whose data it does not
// accept: the reset would discard the answer.
func (c *Client) PublishInTwo(m Message, first int, wait time.Duration) error {
	c.lastID++
	packet := c.codec.publish(m, c.lastID)
	first = min(first, len(packet))
	if err := c.write(packet[:first]); err != nil {
		return err
	}
	time.Sleep(wait)
	return c.write(packet[first:])
}

// Subscribe sends a subscription at QoS 1. It does not wait for an answer.
func (c *Client) Subscribe(filter string) error {
	c.lastID++
	return c.write(c.codec.subscribe(filter, c.lastID))
}

// Disconnect sends DISCONNECT and closes the connection.
func (c *Client) Disconnect() {
	c.write([]byte{Disconnect << 4, 0})
	c.Cut()
}

// Cut closes the connection without DISCONNECT, and returns when the client's goroutine has
// ended.
func (c *Client) Cut() {
	c.conn.Close()
	for range c.packets {
	}
}
