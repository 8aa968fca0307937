// Package subscribe receives messages from a broker by MQTT 5 or 3.1.1 in a persistent
// session, and acknowledges them when the caller asks for it.
//
// It is a small MQTT client on the sockets of package mqtt. Flow control is that of TCP: a
// message that the caller does not read stays in the socket, and then in the broker. Pings
// are sent independently of Read.
//
// # Concurrency
//
// One goroutine may call Read, and another one Acknowledge. Any goroutine may call Close.
package subscribe

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// Options say what to subscribe to, and limit what the broker sends at once. The client ID in
// Broker identifies the session.
type Options struct {
	Broker         mqtt.Broker
	Filters        []string
	RetainedFilter string    // the one of Filters whose retained messages are sent on each connection
	Optional       *Optional // nil: none
	Window         uint16    // Receive Maximum of MQTT 5: unacknowledged messages that the broker may send
	MaxPayload     int       // bytes; of a longer payload only the first MaxKept bytes are returned
	MaxKept        int
}

// An Optional is a filter that the recorder can do without. It is subscribed to at QoS 1 after
// the others; a refusal is ignored. Only one connection at a time may use it.
type Optional struct {
	Filter     string
	unanswered int // connections in a row that ended before the broker answered
}

// maxUnanswered bounds how often an optional filter is requested without an answer: some
// brokers, such as AWS IoT, close the connection in place of a refusal.
const maxUnanswered = 3

// Packet identifiers of the two SUBSCRIBE packets.
const (
	subscribeNeeded   = 1
	subscribeOptional = 2
)

// A Message is a received message.
type Message struct {
	Topic     string
	Payload   []byte
	Size      int // bytes of the whole payload
	Retained  bool
	Duplicate bool   // the DUP flag: the broker has sent it before, perhaps on an earlier connection
	Reply     string // NATS: the subject for the acknowledgement; empty: none, or a message by MQTT
	id        uint16 // packet identifier; 0: QoS 0, not acknowledged
}

// A Conn is one connection with its subscriptions. Dial sets its exported fields; they do not
// change.
type Conn struct {
	Fresh   bool   // the broker had no session for us, so it kept nothing that was published before
	Version byte   // protocol level: 5, or 4 for MQTT 3.1.1
	Server  string // host and port

	options   Options
	socket    net.Conn
	input     *deadlineConn // wraps socket; reader reads from it
	reader    *bufio.Reader
	writeMu   sync.Mutex // held while a packet is written
	closed    chan struct{}
	pingEvery time.Duration // set before the goroutine of ping starts
	once      sync.Once
	pinging   sync.WaitGroup
}

// A refusedError is the code of a CONNACK other than success. Its text says which key of the
// configuration to change, if one can help.
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

// errNoAnswer means that the broker closed the connection in place of an answer to CONNECT.
// Some brokers do so if they do not know the version.
var errNoAnswer = errors.New("the broker closes the connection without an answer")

// suggestsOtherVersion reports whether the broker may have failed because it does not know
// MQTT 5.
func suggestsOtherVersion(err error) bool {
	var code refusedError
	if errors.As(err, &code) {
		return code == 0x01 || code == 0x84
	}
	return errors.Is(err, errNoAnswer) || errors.Is(err, errPacket)
}

// Dial connects to the first server that accepts us, resumes the session and subscribes. It
// tries MQTT 5 first, and 3.1.1 if the broker seems not to know MQTT 5. The error has the
// reason of each server, and says what to change. The caller closes the connection.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	var failed error
	for _, server := range o.Broker.Servers {
		c, err := dial(ctx, o, server, 5)
		if err != nil && suggestsOtherVersion(err) {
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

// A deadlineConn sets a new read deadline before each Read. So it detects a dead connection
// while somebody reads, but a caller that does not read for a long time, because the store is
// busy, does not run into a deadline.
type deadlineConn struct {
	net.Conn
	timeout time.Duration

	mu      sync.Mutex
	stopped bool // guarded by mu: stop was called
}

func (p *deadlineConn) Read(b []byte) (int, error) {
	if err := p.extendDeadline(); err != nil {
		return 0, err
	}
	n, err := p.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w for %v", errSilent, p.timeout)
	}
	return n, err
}

// dial connects to one server with one version of MQTT: 5, or 4 for 3.1.1.
func dial(ctx context.Context, o Options, server *url.URL, version byte) (*Conn, error) {
	// OpenSocket reads the files of passwords and certificates for each connection.
	socket, password, err := o.Broker.OpenSocket(ctx, server)
	if err != nil {
		return nil, err
	}
	// Until Dial returns, the end of ctx closes the socket, which ends a blocked read.
	in := &deadlineConn{Conn: socket, timeout: o.Broker.Silence()}
	c := &Conn{Version: version, Server: server.Host, options: o, socket: socket,
		input: in, reader: bufio.NewReaderSize(in, 64<<10), closed: make(chan struct{}),
		pingEvery: o.Broker.KeepAlive}
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer stop()
	// If the broker never answers, the read deadline ends the handshake.
	err = c.handshake(password)
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

// extendDeadline sets the deadline of the next read. It returns errStopped after stop.
func (p *deadlineConn) extendDeadline() error {
	// Under the lock, so that stop cannot run between the check and the new deadline.
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return errStopped
	}
	return p.SetReadDeadline(time.Now().Add(p.timeout))
}

// stop ends a blocked Read, and makes every later one fail.
func (p *deadlineConn) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.SetReadDeadline(time.Unix(1, 0))
}

// errSilent means that the broker sent nothing before the read deadline, not even a PINGRESP.
var errSilent = errors.New("the broker has been silent")

// errStopped is the error of Read after StopReading.
var errStopped = errors.New("the recorder stops")

// handshake sends CONNECT, waits for CONNACK, and sends SUBSCRIBE. Messages of a resumed
// session may arrive before SUBACK, so Read handles that one.
func (c *Conn) handshake(password string) error {
	// SUBSCRIBE is sent on each connection: access rights may have changed, and a broker that
	// was restored from a backup may have older subscriptions.
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
	// The broker may ask for a shorter keepalive: MQTT-3.2.2-21.
	if c.Version == 5 {
		if s := serverKeepAlive(body); s > 0 {
			c.pingEvery = min(c.pingEvery, time.Duration(s)*time.Second)
		}
	}
	return c.write(subscribe(c.Version, subscribeNeeded, c.options.Filters, c.options.RetainedFilter))
}

// handleSuback handles the body of a SUBACK. When the filters are granted, it subscribes to
// the optional one.
func (c *Conn) handleSuback(answer []byte) error {
	o := c.options.Optional
	if o != nil && len(answer) >= 2 && binary.BigEndian.Uint16(answer) == subscribeOptional {
		o.unanswered = 0
		return nil
	}
	if err := c.checkGranted(answer); err != nil {
		return err
	}
	if o == nil || o.unanswered >= maxUnanswered {
		return nil
	}
	o.unanswered++
	return c.write(subscribe(c.Version, subscribeOptional, []string{o.Filter}, o.Filter))
}

// checkGranted returns an error unless the broker grants all filters at QoS 1: it may refuse
// some of them or grant a lower QoS, and messages would be missing.
func (c *Conn) checkGranted(answer []byte) error {
	// The codes are the last bytes, after the properties of MQTT 5.
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
	// At QoS 0 a crash would lose messages.
	if slices.Contains(codes, 0) {
		return errors.New("the broker grants QoS 0 only, with which messages are lost: allow QoS 1")
	}
	return nil
}

// Read waits for the next message, and handles all other packets. After an error the
// connection is of no use; the error says why it ended or which subscription was refused.
func (c *Conn) Read() (Message, error) {
	for {
		// Each read of header or body has its own deadline.
		h, err := readHeader(c.reader)
		if errors.Is(err, io.EOF) {
			// Mosquitto 2.0.11 does not send the reason.
			err = fmt.Errorf("%w: the broker closes the connection: see its log, and whether another client has "+
				"this client_id", err)
		}
		if err != nil {
			return Message{}, err
		}
		if h.kind == typePublish {
			return readPublish(c.reader, h, c.Version, c.options.MaxPayload, c.options.MaxKept)
		}
		body, err := readControl(c.reader, h)
		if err == nil {
			err = c.handleControl(h.kind, body)
		}
		if err != nil {
			return Message{}, err
		}
	}
}

// handleControl handles a packet other than PUBLISH. An error ends the connection.
func (c *Conn) handleControl(kind byte, body []byte) error {
	const takenOver = 0x8e
	// We publish nothing, so the broker may send no other packets.
	switch {
	case kind == typeSuback:
		return c.handleSuback(body)
	case kind == typePingresp:
		return nil
	case kind == typeDisconnect && len(body) > 0 && body[0] == takenOver:
		return errors.New("another client with the same client_id took the session over: give each its own")
	case kind == typeDisconnect && len(body) > 0:
		return fmt.Errorf("the broker ends the connection with code 0x%02x", body[0])
	}
	return fmt.Errorf("%w: type %d", errPacket, kind)
}

// StopReading makes Read fail when it has returned what is buffered. Messages can still be
// acknowledged.
func (c *Conn) StopReading() { c.input.stop() }

// Acknowledge sends a PUBACK for each message. The messages must be in the order in which
// Read returned them: MQTT-4.6.0-2.
func (c *Conn) Acknowledge(messages []Message) error {
	// One write: the acknowledgements of 5,000 messages are 20 kB.
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

// writeTimeout is how long one write may take.
const writeTimeout = 30 * time.Second

// write writes whole packets. After an error, such as a timeout, the connection is of no use.
func (c *Conn) write(b []byte) error {
	// Different goroutines write acknowledgements and pings; their packets must not mix.
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.socket.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.socket.Write(b)
	return err
}

// ping sends PINGREQ until the connection is closed. Read checks that the broker answers. If
// ping cannot write, it closes the socket, which ends Read.
func (c *Conn) ping() {
	// Pings go on while the store is busy and nobody reads: the broker must not end the session.
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

// Disconnect sends DISCONNECT. The caller must still call Close.
func (c *Conn) Disconnect() error { return c.write([]byte{typeDisconnect << 4, 0}) }

// Close closes the socket and waits for the goroutine of ping. It may be called twice. The
// broker keeps the session.
func (c *Conn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		err = c.socket.Close()
	})
	c.pinging.Wait()
	return err
}
