// Package subscribe receives messages from a broker by MQTT 5 or 3.1.1, with a
// session that the broker keeps, and acknowledges them when it is told to.
//
// It is a client of our own, on the sockets of package mqtt. The caller's reading is
// the only flow control: a message that is not read stays in the socket, and then
// with the broker. Pings do not wait for it.
//
// # Concurrency
//
// One goroutine may call Read, and another one Acknowledge. Close may be called by
// any.
package subscribe

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// Options say what to subscribe to, and how much may be sent at once. Broker has the
// client ID, under which the broker keeps the session.
type Options struct {
	Broker     mqtt.Broker
	Filters    []string
	Refreshed  string    // the one of Filters whose retained messages come with each connection
	Optional   *Optional // nil: none
	Window     uint16    // messages that the broker may send without an acknowledgement, with MQTT 5
	MaxPayload int       // bytes of a payload; of a longer one the first Keep are returned
	Keep       int
}

// An Optional is a filter that is asked for at QoS 1, beside those that are needed. A broker
// that refuses it is as good as one that has no such topic. It belongs to one connection at a
// time.
type Optional struct {
	Filter     string
	unanswered int // connections in a row that ended before the broker answered
}

// maxUnanswered bounds how often an optional filter is asked for without an answer: some
// brokers, such as AWS IoT, end the connection in place of a refusal.
const maxUnanswered = 3

// Identifiers of SUBSCRIBE.
const (
	subscribeNeeded   = 1
	subscribeOptional = 2
)

// A Message is one that was received.
type Message struct {
	Topic     string
	Payload   []byte
	Size      int // bytes that the payload had
	Retained  bool
	Duplicate bool   // the broker has sent it before, perhaps to an earlier connection
	Reply     string // where NATS wants the acknowledgement; empty: none, or it came by MQTT
	id        uint16 // 0: at QoS 0, which is not acknowledged
}

// A Conn is one connection with its subscriptions. Its exported fields are set by Dial
// and do not change.
type Conn struct {
	Fresh   bool   // the broker had no session for us: it has sent nothing that was published before
	Version byte   // 5 or 4, which is 3.1.1
	Server  string // host and port

	options   Options
	socket    net.Conn
	in        *patient // socket, for reader
	reader    *bufio.Reader
	writing   sync.Mutex // held while a packet is written
	closed    chan struct{}
	pingEvery time.Duration // set before the first ping
	once      sync.Once
	pinging   sync.WaitGroup
}

// A refusedError is the code of a CONNACK that is no success. Its text says which key
// of the configuration to change, where that may help.
type refusedError byte

func (e refusedError) Error() string {
	// The codes of 3.1.1 are below 0x80, those of MQTT 5 above: MQTT 5, section 3.2.2.2.
	switch e {
	case 0x04, 0x05, 0x86, 0x87:
		return "the broker refuses the account: correct mqtt.username and the password, or its access list"
	case 0x02, 0x85:
		return "the broker refuses the client_id: write another one"
	case 0x01, 0x84:
		return "the broker does not speak this version of MQTT"
	}
	return fmt.Sprintf("the broker refuses the connection with code 0x%02x", byte(e))
}

// errNoAnswer says that the broker closed in place of an answer to CONNECT: some do so
// where they do not know the version.
var errNoAnswer = errors.New("the broker closes the connection without an answer")

// otherVersion reports whether an answer to MQTT 5 may be due to the version.
func otherVersion(err error) bool {
	var code refusedError
	if errors.As(err, &code) {
		return code == 0x01 || code == 0x84
	}
	return errors.Is(err, errNoAnswer) || errors.Is(err, errPacket)
}

// Dial connects to the first server that accepts us, resumes the session and
// subscribes. It tries MQTT 5 first, and 3.1.1 where the broker seems not to know that.
// The error says what to change. The caller closes the connection.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	// The error has the reason of each server that was tried.
	var failed error
	for _, server := range o.Broker.Servers {
		c, err := dial(ctx, o, server, 5)
		if err != nil && otherVersion(err) {
			c, err = dial(ctx, o, server, 4)
		}
		if err == nil {
			return c, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", server.Host, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// A patient reader waits for a while each time that it reads from the socket. So a
// dead connection is noticed while somebody reads, and a caller that does not read for
// long (the store is busy) is not taken for a dead one.
type patient struct {
	net.Conn
	silence time.Duration

	mu      sync.Mutex
	stopped bool // guarded by mu: the deadline has passed and stays so
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.extend(); err != nil {
		return 0, err
	}
	n, err := p.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w for %v", errSilent, p.silence)
	}
	return n, err
}

// dial connects to one server with one version of MQTT: 5, or 4 for 3.1.1.
func dial(ctx context.Context, o Options, server *url.URL, version byte) (*Conn, error) {
	// Files of passwords and certificates are read anew for each connection.
	socket, password, err := o.Broker.OpenSocket(ctx, server)
	if err != nil {
		return nil, err
	}
	// Until Dial returns, ctx ends it by closing the socket under it.
	in := &patient{Conn: socket, silence: o.Broker.Silence()}
	c := &Conn{Version: version, Server: server.Host, options: o, socket: socket,
		in: in, reader: bufio.NewReaderSize(in, 64<<10), closed: make(chan struct{}),
		pingEvery: o.Broker.KeepAlive}
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer stop()
	// A broker that accepts the socket and then says nothing is ended by patient.
	err = c.open(password)
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	c.pinging.Go(c.ping)
	return c, nil
}

// extend gives the broker time for what comes next.
func (p *patient) extend() error {
	// Under the lock, so that stop cannot come between the question and the new deadline.
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return errStopped
	}
	return p.SetReadDeadline(time.Now().Add(p.silence))
}

// stop ends a Read that waits, and every later one.
func (p *patient) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.SetReadDeadline(time.Unix(1, 0))
}

// errSilent is the end of a connection whose broker sends nothing, no PINGRESP either.
var errSilent = errors.New("the broker has been silent")

// errStopped is the end of reading after StopReading.
var errStopped = errors.New("the recorder stops")

// open sends CONNECT, waits for its answer, and sends SUBSCRIBE. Of a session that is
// resumed messages may come before SUBACK, so its answer is read by Read.
func (c *Conn) open(password string) error {
	// SUBSCRIBE goes out with each connection: rights may have changed, and a broker that
	// was restored from a backup may know an older set.
	b := c.options.Broker
	keepAlive := uint16(b.KeepAlive / time.Second)
	if err := c.write(connect(c.Version, b.ClientID, b.Username, password, keepAlive, c.options.Window)); err != nil {
		return err
	}
	h, err := readHeader(c.reader)
	switch {
	case errors.Is(err, errSilent):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	body, err := readControl(c.reader, h)
	switch {
	case err != nil:
		return err
	case h.kind != typeConnack || len(body) < 2:
		return fmt.Errorf("%w: type %d in place of CONNACK", errPacket, h.kind)
	case body[1] != 0:
		return refusedError(body[1])
	}
	c.Fresh = body[0]&1 == 0
	// A broker may ask for more frequent pings than we would send: MQTT-3.2.2-21.
	if c.Version == 5 {
		if s := serverKeepAlive(body); s > 0 {
			c.pingEvery = min(c.pingEvery, time.Duration(s)*time.Second)
		}
	}
	return c.write(subscribe(c.Version, subscribeNeeded, c.options.Filters, c.options.Refreshed))
}

// subscribed handles the answer to a SUBSCRIBE, and asks for the optional filter when the
// others are granted.
func (c *Conn) subscribed(answer []byte) error {
	o := c.options.Optional
	if o != nil && len(answer) >= 2 && binary.BigEndian.Uint16(answer) == subscribeOptional {
		o.unanswered = 0
		return nil
	}
	if err := c.granted(answer); err != nil {
		return err
	}
	if o == nil || o.unanswered >= maxUnanswered {
		return nil
	}
	o.unanswered++
	return c.write(subscribe(c.Version, subscribeOptional, []string{o.Filter}, o.Filter))
}

// granted checks the answer to SUBSCRIBE. A broker may grant less than was asked for, or
// refuse one filter and grant the other: then what comes would not be all.
func (c *Conn) granted(answer []byte) error {
	// The codes are the last bytes; in MQTT 5 properties come before.
	n := len(c.options.Filters)
	if len(answer) < 2+n {
		return fmt.Errorf("%w: a SUBACK of %d bytes", errPacket, len(answer))
	}
	codes := answer[len(answer)-n:]
	for i, code := range codes {
		if code >= 0x80 {
			return fmt.Errorf("the broker refuses the subscription to %s: let the account read it",
				c.options.Filters[i])
		}
	}
	// What is published at QoS 1 would come at QoS 0, and a crash would lose it.
	if slices.Contains(codes, 0) {
		return errors.New("the broker grants QoS 0 only, with which messages are lost: allow QoS 1")
	}
	return nil
}

// Read waits for the next message. The error is the end of the connection, or says
// that the broker refuses a subscription.
func (c *Conn) Read() (Message, error) {
	for {
		// Header and body may wait for the socket separately: each read has a deadline of its own.
		h, err := readHeader(c.reader)
		if err != nil {
			return Message{}, err
		}
		if h.kind == typePublish {
			return readPublish(c.reader, h, c.Version, c.options.MaxPayload, c.options.Keep)
		}
		body, err := readControl(c.reader, h)
		if err == nil {
			err = c.answer(h.kind, body)
		}
		if err != nil {
			return Message{}, err
		}
	}
}

// answer handles a packet that is no PUBLISH. An error ends the connection.
func (c *Conn) answer(kind byte, body []byte) error {
	const takenOver = 0x8e
	// What else a broker may send needs no answer: nothing is published here.
	switch {
	case kind == typeSuback:
		return c.subscribed(body)
	case kind == typePingresp:
		return nil
	case kind == typeDisconnect && len(body) > 0 && body[0] == takenOver:
		return errors.New("another client with the same client_id took the session over: give each its own")
	case kind == typeDisconnect && len(body) > 0:
		return fmt.Errorf("the broker ends the connection with code 0x%02x", body[0])
	}
	return fmt.Errorf("%w: type %d", errPacket, kind)
}

// StopReading ends Read, which may return what it has already read. Messages can
// still be acknowledged.
func (c *Conn) StopReading() { c.in.stop() }

// Acknowledge acknowledges messages, which have to be in the order in which Read
// returned them: MQTT-4.6.0-2.
func (c *Conn) Acknowledge(messages []Message) error {
	// All in one write: a batch of 5,000 is 20 kB.
	b := make([]byte, 0, 4*len(messages))
	for i := range messages {
		if messages[i].id != 0 {
			b = appendPuback(b, messages[i].id)
		}
	}
	if len(b) == 0 {
		return nil
	}
	return c.write(b)
}

// maxWrite is how long the broker may take to accept what is written.
const maxWrite = 30 * time.Second

// write writes whole packets. It fails if the broker does not take them in time; then
// the connection is of no use any more.
func (c *Conn) write(b []byte) error {
	// Acknowledgements and pings come from different goroutines; packets must not mix.
	c.writing.Lock()
	defer c.writing.Unlock()
	c.socket.SetWriteDeadline(time.Now().Add(maxWrite))
	_, err := c.socket.Write(b)
	return err
}

// ping sends PINGREQ until the connection is closed. That the broker answers is seen
// by Read, as long as it is called. If one cannot be written, it closes the socket, and
// Read ends.
func (c *Conn) ping() {
	// Also while the store is busy and nothing is read: the broker sees that we are there.
	t := time.NewTicker(c.pingEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if c.write([]byte{typePingreq << 4, 0}) != nil {
				c.socket.Close()
				return
			}
		case <-c.closed:
			return
		}
	}
}

// Disconnect tells the broker that the connection ends in order. Close has to follow.
func (c *Conn) Disconnect() error { return c.write([]byte{typeDisconnect << 4, 0}) }

// Close closes the socket, and waits for the goroutine of the connection. The broker
// keeps the session.
func (c *Conn) Close() error {
	var err error
	// May be called twice: by the end of Dial, and by whoever has the connection.
	c.once.Do(func() {
		close(c.closed)
		err = c.socket.Close()
	})
	c.pinging.Wait()
	return err
}
