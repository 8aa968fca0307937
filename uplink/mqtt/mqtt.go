package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	quiesce = 250 // milliseconds that the library waits for DISCONNECT to be written

	// preferredWait is the time between two checks whether the preferred server accepts
	// connections again. It doubles up to maxPreferredWait each time that the server
	// accepted one and Dial then failed there.
	preferredWait    = 5 * time.Minute
	maxPreferredWait = time.Hour
)

// A Dialer connects to the first of a broker's servers that answers, by MQTT 3.1.1.
// A connection to a later one checks from time to time whether the first is back,
// see [Conn.Preferred].
//
// Each connection is a new client of the library with a clean session. The
// library's own reconnecting is off: it completes publications that the broker
// never acknowledged.
//
// Only one goroutine at a time may call Dial.
type Dialer struct {
	broker Broker
	paths  []segments    // to each server, in the order of broker.Servers
	look   time.Duration // the current preferredWait

	findings map[string]finding // by scheme and address of a server: why it does not answer
}

// NewDialer returns a dialer for a broker, which has at least one server. It opens
// no connection and no file.
func NewDialer(broker Broker) *Dialer { return newDialer(broker, preferredWait) }

// newDialer lets tests wait less for the preferred server.
func newDialer(broker Broker, look time.Duration) *Dialer {
	if broker.Clock == nil {
		broker.Clock = clock.NewTimekeeper(clock.TrustAuto)
	}
	return &Dialer{broker: broker, paths: make([]segments, len(broker.Servers)), look: look,
		findings: map[string]finding{}}
}

// Dial connects to the servers in order until one accepts us. The broker publishes
// the will when the connection is lost; a will without a topic is none.
//
// The error names each server with the reason and with what a person can do about
// it. [RefusedError], [ProtocolError], [ErrBrokerClosed], [IsReset] and
// [IsUnreachable] tell what happened. The caller closes the connection.
func (d *Dialer) Dial(ctx context.Context, will Message) (*Conn, error) {
	var failed error
	for i, server := range d.broker.Servers {
		conn, err := dialServer(ctx, d.broker, server, &d.paths[i], will)
		if err != nil {
			err = d.broker.explain(d.diagnose(ctx, server, will, err))
		} else {
			delete(d.findings, server.Scheme+server.Host)
		}
		switch {
		case err == nil && i > 0:
			conn.watch(d.broker, d.look)
			d.look = min(2*d.look, maxPreferredWait) // it may accept a connection and refuse our CONNECT
			return conn, nil
		case err == nil:
			d.look = preferredWait
			return conn, nil
		case failed == nil:
			failed = fmt.Errorf("%s: %w", server.Host, err)
		default:
			failed = fmt.Errorf("%w; %s: %w", failed, server.Host, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// dialServer connects to one server. path has what is known of the way there, and
// learns from how the connection ends.
func dialServer(ctx context.Context, broker Broker, server *url.URL, path *segments, will Message) (*Conn, error) {
	limits := broker.limits()
	broker.segment = path.limit()
	certs := new(connCertificates)
	options, err := clientOptions(ctx, broker, server, will, certs.show)
	if err != nil {
		return nil, err
	}
	socket, err := openSocket(ctx, broker, server, options.TLSConfig)
	if err != nil {
		return nil, path.notMade(broker.TLS.explainUntrusted(ctx, err))
	}
	c := &Conn{connCertificates: certs, path: path, began: time.Now(), server: server.Host,
		lost: make(chan struct{}), received: newReceiver(), preferred: make(chan struct{})}
	c.wire = newWire(socket, limits, c.end)
	c.wire.keepAlive = broker.KeepAlive
	options.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c.wire, nil })
	// The library reports every loss here. Those that the wire has found come too late for
	// end to count them; what remains is a packet that the library cannot decode.
	options.SetConnectionLostHandler(func(_ paho.Client, err error) { c.end(err) })
	options.SetDefaultPublishHandler(c.received.hear)
	c.client = paho.NewClient(options)
	token := c.client.Connect()
	select {
	case <-token.Done():
		err = c.answer(token.(*paho.ConnectToken))
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.Close() // its own error says nothing more
		return nil, err
	}
	c.pinging.Go(c.wire.ping)
	return c, nil
}

// clientOptions reads the files of the account and of TLS, and makes the options of
// the library. show is called with the certificates after the handshake.
func clientOptions(ctx context.Context, broker Broker, server *url.URL, will Message,
	show func([]Certificate)) (*paho.ClientOptions, error) {
	limits := broker.limits()
	ctx, cancel := context.WithTimeout(ctx, limits.Connect)
	defer cancel()
	password, err := broker.Password.Read(ctx)
	if err != nil {
		return nil, err
	}
	config, err := broker.TLS.config(ctx, server.Hostname(), show)
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions().
		AddBroker(server.String()).
		SetClientID(broker.ClientID).
		SetProtocolVersion(4). // MQTT 3.1.1 only: else the library tries MQTT 3.1 after each refusal
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetKeepAlive(0). // the wire writes that of the broker into CONNECT, and sends PINGREQ
		SetWriteTimeout(limits.Write).
		SetConnectTimeout(limits.Connect).
		SetTLSConfig(config)
	if will.Topic != "" {
		o.SetBinaryWill(will.Topic, will.Payload, 1, will.Retain)
	}
	o.SetUsername(broker.Username).SetPassword(password)
	if broker.Username == "" && password != "" {
		o.SetUsername(broker.ClientID)
	}
	return o, nil
}

// A Conn is one connection: a client of the library on a wire of ours. Publications
// at QoS 1 go past the library, straight to the wire. Its methods may be called
// from any goroutine. The fields without a comment on their lock are set before the
// first of them can be called.
type Conn struct {
	*connCertificates
	client   paho.Client
	wire     *wire
	received *receiver
	path     *segments
	began    time.Time // when the socket was connected
	server   string    // host:port

	requesting sync.Mutex // held while one SUBSCRIBE or UNSUBSCRIBE is on its way to the wire

	pinging sync.WaitGroup // the goroutine that sends PINGREQ

	once sync.Once     // guards why, and closes lost
	lost chan struct{} // closed when the connection is lost
	why  error         // may be read after lost is closed

	preferred chan struct{}      // closed by the goroutine of watch
	stop      context.CancelFunc // ends watch; nil if there is none
	watched   sync.WaitGroup     // the goroutine of watch
}

// Done returns a channel that is closed when the connection is lost or closed.
func (c *Conn) Done() <-chan struct{} { return c.lost }

// Err returns why the connection was lost: the first reason that was noticed, or
// [net.ErrClosed] after Close. It must not be called before Done is closed.
func (c *Conn) Err() error { return c.why }

// Heard returns the channel of the messages that were received, without those for
// Expect and Handle. It is never closed. Messages are dropped while maxHeard of them
// wait.
func (c *Conn) Heard() <-chan Message { return c.received.heard }

// Handle has f called with each message on a topic, in the order in which they come.
// Call it before Subscribe. f must not block: PUBACKs are read by the goroutine that
// calls it.
func (c *Conn) Handle(topic string, f func(Message)) { c.received.handle(topic, f) }

// Server is the server of the connection: host:port.
func (c *Conn) Server() string { return c.server }

// Preferred returns a channel that is closed when the first server accepts
// connections again. It is never closed if the connection is to the first server.
func (c *Conn) Preferred() <-chan struct{} { return c.preferred }

// Publish queues a message to be written, and blocks while maxUnsent bytes wait for
// the link. The payload is copied: it may be changed after Publish returns. Done of
// the token is closed when PUBACK has arrived or the connection is lost; at QoS 0 it
// is closed from the start.
func (c *Conn) Publish(m Message) Token {
	token := c.wire.publish(m)
	signal(c.wire.kick)
	return token
}

// Enqueue is Publish, but the message may stay in the outbox until Flush is called:
// several share a write to the socket.
func (c *Conn) Enqueue(m Message) Token { return c.wire.publish(m) }

// Flush has all that was queued written. It does not wait for the link.
func (c *Conn) Flush() { c.wire.writeNow() }

// Await returns a channel that is closed, or gets a token, when a packet is answered.
// It is cheaper than Done of the token, which works too, but only one goroutine may
// use it, and a call ends the wait for what an earlier one was for.
func (c *Conn) Await(t Token) <-chan struct{} {
	if p, ok := t.(*publication); ok && p.box == &c.wire.outbox {
		return c.wire.await(p)
	}
	return t.Done()
}

// Subscribe sends a SUBSCRIBE for a topic at QoS 1. It returns when the packet is
// queued, so it is written before what is published next. The error of the token is
// a [DeniedError] if the broker refuses.
func (c *Conn) Subscribe(topic string) Token {
	token := c.request(func() paho.Token { return c.client.Subscribe(topic, 1, nil) })
	return subscription{request{token}, topic}
}

// Unsubscribe sends an UNSUBSCRIBE for a topic. It returns when the packet is
// queued, so it is written before what is published next.
func (c *Conn) Unsubscribe(topic string) Token {
	return request{c.request(func() paho.Token { return c.client.Unsubscribe(topic) })}
}

// request has the library send a packet, and returns when the wire has queued it. The
// library writes it in a goroutine of its own; without waiting, a probe that is
// published next could be sent before its subscription, and would not come back.
func (c *Conn) request(send func() paho.Token) paho.Token {
	c.requesting.Lock()
	defer c.requesting.Unlock()
	select {
	case <-c.wire.requested: // left by a request that did not wait for it
	default:
	}
	token := send()
	select {
	case <-c.wire.requested:
	case <-token.Done(): // it failed, or was answered already
	case <-c.lost:
	}
	return token
}

// Expect returns a channel that is closed when the broker sends a message back to
// us, see [Echoes.Expect]. Call it before the message is published.
func (c *Conn) Expect(m Message) <-chan struct{} { return c.received.echoes.Expect(m) }

// Disconnect sends DISCONNECT, after which the broker forgets the will, and waits a
// quarter of a second at most for it to be written. Close has to follow.
func (c *Conn) Disconnect() { c.client.Disconnect(quiesce) }

// Close closes the socket and waits for the goroutines of the connection. It sends
// no DISCONNECT: without a call of Disconnect before, the broker publishes the will.
// It may be called more than once.
func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	if c.stop != nil {
		c.stop()
	}
	err := c.wire.drop()
	c.client.Disconnect(0)
	c.watched.Wait()
	c.pinging.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // the library has closed the socket before
	}
	return err
}

// Abandon is Close of a connection that our network took away: that it stalled says
// nothing about the path, which may have been another one.
func (c *Conn) Abandon() {
	c.once.Do(func() {
		c.path.unreachable()
		c.lose(net.ErrClosed)
	})
	c.Close() // the socket is given up in any case
}

// end notes why the connection is lost, and fails what is in flight. Only the first
// call counts: later errors follow from the first.
func (c *Conn) end(why error) {
	c.once.Do(func() {
		c.lose(c.path.ended(why, stalled(c.wire.Conn), c.began))
	})
}

// lose says that the connection is lost, once.
func (c *Conn) lose(why error) {
	c.why = why
	close(c.lost)
	c.wire.failAll()
}

// answer returns the result of CONNECT when its token is done: a [RefusedError], why
// the connection was lost, or nil. The code is that which the wire has seen, as the
// library takes codes above 5 for success.
func (c *Conn) answer(token *paho.ConnectToken) error {
	if code := c.wire.code.Load(); code > 0 {
		return &RefusedError{byte(code)}
	}
	if err := token.Error(); err != nil {
		select {
		case <-c.lost: // the wire has the reason; the library only has EOF
			return c.why
		default:
			return err
		}
	}
	return nil
}

// A request is the token of a packet of the library's.
type request struct{ paho.Token }

// Answered is as Token has it.
func (r request) Answered() bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

// A subscription is the token of a SUBSCRIBE. The library's own reports success when
// the broker refuses.
type subscription struct {
	request
	topic string
}

// Error is as Token has it, and a [DeniedError] if the broker refused.
func (s subscription) Error() error {
	const refused = 0x80 // MQTT 3.1.1, section 3.9.3
	if err := s.Token.Error(); err != nil {
		return err
	}
	if t, ok := s.Token.(*paho.SubscribeToken); ok && t.Result()[s.topic] >= refused {
		return &DeniedError{s.topic}
	}
	return nil
}

// watch starts the goroutine that checks at an interval whether the preferred server
// accepts connections. It ends with the first success, or in Close.
func (c *Conn) watch(broker Broker, every time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.watched.Go(func() {
		for clock.Sleep(ctx, every); ctx.Err() == nil; clock.Sleep(ctx, every) {
			if answers(ctx, broker) {
				close(c.preferred)
				return
			}
		}
	})
}

// answers reports whether the preferred server accepts a socket with TLS and
// WebSocket. It sends no CONNECT, which would end our own connection if both servers
// are one broker.
func answers(ctx context.Context, broker Broker) bool {
	server := broker.Servers[0]
	config, err := broker.TLS.config(ctx, server.Hostname(), func([]Certificate) {})
	if err != nil {
		return false
	}
	socket, err := openSocket(ctx, broker, server, config)
	if err != nil {
		return false
	}
	socket.Close()
	return true
}
