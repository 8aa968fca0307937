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
	quiesce          = 250             // ms for the disconnect to be written
	maxHeard         = 16              // messages that wait for the session to hear them
	maxPreferredWait = time.Hour       // between looks at the preferred server
	preferredWait    = 5 * time.Minute // before the first
)

// A Dialer connects to the first of a broker's servers that answers, by MQTT 3.1.1.
// A connection to a later one looks now and then whether the first is back.
//
// Each connection is a new client with a clean session and without the library's
// own reconnecting, which completes publications that the broker never
// acknowledged.
//
// Only one goroutine at a time may call Dial.
type Dialer struct {
	broker Broker
	paths  []segments    // to each server
	look   time.Duration // between looks at the preferred server

	findings map[string]finding // by server: why it does not answer
}

// NewDialer returns a dialer for a broker, which has at least one server.
func NewDialer(broker Broker) *Dialer { return newDialer(broker, preferredWait) }

func newDialer(broker Broker, look time.Duration) *Dialer {
	if broker.Clock == nil {
		broker.Clock = clock.NewTimekeeper(clock.TrustAuto)
	}
	return &Dialer{broker: broker, paths: make([]segments, len(broker.Servers)), look: look,
		findings: map[string]finding{}}
}

// Dial connects. The broker publishes the will if the connection is lost.
func (d *Dialer) Dial(ctx context.Context, will Message) (*Conn, error) {
	var failed error
	for i, server := range d.broker.Servers {
		conn, err := dialServer(ctx, d.broker, server, &d.paths[i], will)
		if err != nil {
			err = d.broker.explain(d.findOut(ctx, server, will, err))
		} else {
			delete(d.findings, server.Scheme+server.Host)
		}
		switch {
		case err == nil && i > 0:
			conn.watch(d.broker, d.look)
			d.look = min(2*d.look, maxPreferredWait) // it may answer and refuse us
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
		lost: make(chan struct{}), heard: make(chan Message, maxHeard), preferred: make(chan struct{})}
	c.wire = newWire(socket, limits, c.end)
	options.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c.wire, nil })
	options.SetConnectionLostHandler(func(_ paho.Client, err error) { // unless the wire was first
		c.end(fmt.Errorf("the broker does not answer: %w", err))
	})
	options.SetDefaultPublishHandler(c.hear)
	c.client = paho.NewClient(options)
	token := c.client.Connect()
	select {
	case <-token.Done():
		err = c.answer(token.(*paho.ConnectToken))
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.Close() // it failed already
		return nil, err
	}
	return c, nil
}

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
		SetProtocolVersion(4). // else each refusal is tried again as MQTT 3.1
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetKeepAlive(broker.KeepAlive).
		SetPingTimeout(min(limits.Ping, broker.KeepAlive)).
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

// A Conn is one connection: a client of the library, on a wire of ours. Its
// methods may be called from any goroutine.
type Conn struct {
	*connCertificates // the certificates of the connection
	client            paho.Client
	wire              *wire
	heard             chan Message
	echoes            Echoes
	path              *segments
	began             time.Time
	server            string // host:port

	asking sync.Mutex // one SUBSCRIBE or UNSUBSCRIBE at a time is on its way to the wire

	once sync.Once
	lost chan struct{}
	why  error // set before lost is closed

	preferred chan struct{}
	stop      context.CancelFunc // of the watch; nil if there is none
	watched   sync.WaitGroup
}

func (c *Conn) Done() <-chan struct{} { return c.lost }
func (c *Conn) Err() error            { return c.why }
func (c *Conn) Heard() <-chan Message { return c.heard }

// Server is where the connection goes: host:port.
func (c *Conn) Server() string { return c.server }

func (c *Conn) Preferred() <-chan struct{} { return c.preferred }

// Publish writes a message at once, or as soon as the link has taken what is before
// it. The payload may be used again when it returns.
func (c *Conn) Publish(m Message) Token { return c.wire.publish(m) }

// Subscribe sends a SUBSCRIBE at QoS 1, before what is published next.
func (c *Conn) Subscribe(topic string) Token {
	token := c.ask(func() paho.Token { return c.client.Subscribe(topic, 1, nil) })
	return subscription{token, topic}
}

// Unsubscribe sends an UNSUBSCRIBE, before what is published next.
func (c *Conn) Unsubscribe(topic string) Token {
	return c.ask(func() paho.Token { return c.client.Unsubscribe(topic) })
}

// ask has the library send a packet, and returns when the wire has it: a goroutine of
// the library's writes it, and a probe is published between the two.
func (c *Conn) ask(send func() paho.Token) paho.Token {
	c.asking.Lock()
	defer c.asking.Unlock()
	select {
	case <-c.wire.asks: // of one that was given up
	default:
	}
	token := send()
	select {
	case <-c.wire.asks:
	case <-token.Done(): // it failed, or was answered already
	case <-c.lost:
	}
	return token
}

func (c *Conn) Expect(m Message) <-chan struct{} { return c.echoes.Expect(m) }

func (c *Conn) Disconnect() { c.client.Disconnect(quiesce) }

func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	if c.stop != nil {
		c.stop()
	}
	err := c.wire.drop()
	c.client.Disconnect(0)
	c.watched.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // the library was quicker
	}
	return err
}

// end notes why the connection is lost: the first reason is the true one.
func (c *Conn) end(why error) {
	c.once.Do(func() {
		c.why = c.path.ended(why, stalled(c.wire.Conn), c.began)
		close(c.lost)
		c.wire.failAll()
	})
}

// hear takes a message for the session, unless too many wait.
func (c *Conn) hear(_ paho.Client, m paho.Message) {
	if c.echoes.Hear(m.Topic(), m.Payload()) {
		return
	}
	select {
	case c.heard <- Message{Topic: m.Topic(), Payload: m.Payload(), Retain: m.Retained()}:
	default:
	}
}

// answer tells a refusal from a failure. The library takes codes above 5 for
// success.
func (c *Conn) answer(token *paho.ConnectToken) error {
	if code := c.wire.code.Load(); code > 0 {
		return &RefusedError{byte(code)}
	}
	if err := token.Error(); err != nil {
		select {
		case <-c.lost: // the wire knows better why
			return c.why
		default:
			return err
		}
	}
	return nil
}

// A subscription is a token that knows a refusal.
type subscription struct {
	paho.Token
	topic string
}

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

// watch looks from time to time whether the preferred server answers again.
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

// answers says whether the preferred server takes connections.
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
