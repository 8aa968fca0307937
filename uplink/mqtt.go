package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	quiesce   = 250             // ms for the disconnect to be written
	mostHeard = 16              // messages that wait for the session to hear them
	probeMost = time.Hour       // between looks at the preferred server
	probeWait = 5 * time.Minute // before the first
)

// DialMQTT returns a [Dial] that speaks MQTT 3.1.1 to the first of the servers
// that answers. A connection to a later one looks now and then whether the
// first is back.
//
// Each connection is a new client with a clean session and without the
// library's own reconnecting, which completes publications that the broker
// never acknowledged.
func DialMQTT(opt Options) Dial {
	return newDialer(opt, probeWait).dial
}

type dialer struct {
	opt   Options
	paths []segments    // to each server
	look  time.Duration // between looks at the preferred server

	findings map[string]finding // by server: why it does not answer
}

func newDialer(opt Options, look time.Duration) *dialer {
	if opt.Clock == nil {
		opt.Clock = clock.NewTimekeeper(clock.TrustAuto)
	}
	return &dialer{opt: opt, paths: make([]segments, len(opt.Servers)), look: look, findings: map[string]finding{}}
}

func (d *dialer) dial(ctx context.Context, will Message) (Conn, error) {
	var failed error
	for i, server := range d.opt.Servers {
		conn, err := dialServer(ctx, d.opt, server, &d.paths[i], will)
		if err != nil {
			err = d.opt.explain(d.findOut(ctx, server, will, err))
		} else {
			delete(d.findings, server.Scheme+server.Host)
		}
		switch {
		case err == nil && i > 0:
			conn.watch(d.opt, d.look)
			d.look = min(2*d.look, probeMost) // it may answer and refuse us
			return conn, nil
		case err == nil:
			d.look = probeWait
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

func dialServer(ctx context.Context, opt Options, server *url.URL, path *segments, will Message) (*mqttConn, error) {
	limits := opt.bounds()
	opt.segment = path.limit()
	certs := new(shown)
	options, err := clientOptions(ctx, opt, server, will, certs.show)
	if err != nil {
		return nil, err
	}
	socket, err := openSocket(ctx, opt, server, options.TLSConfig)
	if err != nil {
		return nil, path.notMade(opt.TLS.explainUntrusted(ctx, err))
	}
	c := &mqttConn{shown: certs, path: path, began: time.Now(), host: server.Host,
		lost: make(chan struct{}), heard: make(chan Message, mostHeard), better: make(chan struct{})}
	c.wire = newWire(socket, limits, c.end)
	options.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return c.wire, nil })
	options.SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.end(fmt.Errorf("the broker does not answer: %w", err)) }) // else the wire was first
	options.SetDefaultPublishHandler(c.hear)
	c.client = mqtt.NewClient(options)
	token := c.client.Connect()
	select {
	case <-token.Done():
		err = c.answer(token.(*mqtt.ConnectToken))
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.Close() // it failed already
		return nil, err
	}
	return c, nil
}

func clientOptions(ctx context.Context, opt Options, server *url.URL, will Message, show func([]certificate)) (*mqtt.ClientOptions, error) {
	limits := opt.bounds()
	ctx, cancel := context.WithTimeout(ctx, limits.connect)
	defer cancel()
	password, err := opt.Password.Read(ctx)
	if err != nil {
		return nil, err
	}
	config, err := opt.TLS.config(ctx, server.Hostname(), show)
	if err != nil {
		return nil, err
	}
	o := mqtt.NewClientOptions().
		AddBroker(server.String()).
		SetClientID(opt.ClientID).
		SetProtocolVersion(4). // else each refusal is tried again as MQTT 3.1
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetKeepAlive(opt.KeepAlive).
		SetPingTimeout(min(limits.ping, opt.KeepAlive)).
		SetWriteTimeout(limits.write).
		SetConnectTimeout(limits.connect).
		SetTLSConfig(config)
	if will.Topic != "" {
		o.SetBinaryWill(will.Topic, will.Payload, 1, will.Retain)
	}
	o.SetUsername(opt.Username).SetPassword(password)
	if opt.Username == "" && password != "" {
		o.SetUsername(opt.ClientID)
	}
	return o, nil
}

// mqttConn is one connection of paho's.
type mqttConn struct {
	*shown // the certificates of the connection
	client mqtt.Client
	wire   *wire
	heard  chan Message
	echoes echoes
	path   *segments
	began  time.Time
	host   string // and port, of the server

	once sync.Once
	lost chan struct{}
	why  error // set before lost is closed

	better  chan struct{}
	stop    context.CancelFunc // of the watch; nil if there is none
	watched sync.WaitGroup
}

func (c *mqttConn) Done() <-chan struct{}   { return c.lost }
func (c *mqttConn) Err() error              { return c.why }
func (c *mqttConn) Heard() <-chan Message   { return c.heard }
func (c *mqttConn) Better() <-chan struct{} { return c.better }

// server is where the connection goes, for [Link.Status].
func (c *mqttConn) server() string { return c.host }

func (c *mqttConn) Publish(m Message) Token {
	qos := byte(1)
	if m.Once {
		qos = 0
	}
	return c.client.Publish(m.Topic, qos, m.Retain, m.Payload)
}

func (c *mqttConn) Subscribe(topic string) Token {
	return subscription{c.client.Subscribe(topic, 1, nil), topic}
}

func (c *mqttConn) Unsubscribe(topic string) Token { return c.client.Unsubscribe(topic) }

func (c *mqttConn) Expect(m Message) <-chan struct{} { return c.echoes.expect(m) }

func (c *mqttConn) Disconnect() { c.client.Disconnect(quiesce) }

func (c *mqttConn) Close() error {
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
func (c *mqttConn) end(why error) {
	c.once.Do(func() {
		c.why = c.path.ended(why, stalled(c.wire.Conn), c.began)
		close(c.lost)
	})
}

// hear takes a message for the session, unless too many wait.
func (c *mqttConn) hear(_ mqtt.Client, m mqtt.Message) {
	if c.echoes.hear(m.Topic(), m.Payload()) {
		return
	}
	select {
	case c.heard <- Message{Topic: m.Topic(), Payload: m.Payload(), Retain: m.Retained()}:
	default:
	}
}

// answer tells a refusal from a failure. The library takes codes above 5 for
// success.
func (c *mqttConn) answer(token *mqtt.ConnectToken) error {
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
	mqtt.Token
	topic string
}

func (s subscription) Error() error {
	const refused = 0x80 // MQTT 3.1.1, section 3.9.3
	if err := s.Token.Error(); err != nil {
		return err
	}
	if t, ok := s.Token.(*mqtt.SubscribeToken); ok && t.Result()[s.topic] >= refused {
		return &DeniedError{s.topic}
	}
	return nil
}

// watch looks from time to time whether the preferred server answers again.
func (c *mqttConn) watch(opt Options, every time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.watched.Go(func() {
		for sleep(ctx, every); ctx.Err() == nil; sleep(ctx, every) {
			if answers(ctx, opt) {
				close(c.better)
				return
			}
		}
	})
}

// answers says whether the preferred server takes connections.
func answers(ctx context.Context, opt Options) bool {
	server := opt.Servers[0]
	config, err := opt.TLS.config(ctx, server.Hostname(), func([]certificate) {})
	if err != nil {
		return false
	}
	socket, err := openSocket(ctx, opt, server, config)
	if err != nil {
		return false
	}
	socket.Close()
	return true
}
