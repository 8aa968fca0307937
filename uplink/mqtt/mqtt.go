package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	quiesce = 250 * time.Millisecond // for DISCONNECT to be written

	// preferredWait is the time between two checks whether the preferred server accepts
	// connections again. It doubles up to maxPreferredWait each time that the server
	// accepted one and Dial then failed there.
	preferredWait    = 5 * time.Minute
	maxPreferredWait = time.Hour
)

// A Dialer connects to the first of a broker's servers that answers, by MQTT 3.1.1 or 5.
// A connection to a later one checks from time to time whether the first is back,
// see [Conn.Preferred].
//
// Each connection is a new client of the library with a clean session. The
// library's own reconnecting is off: it completes publications that the broker
// never acknowledged.
//
// Only one goroutine at a time may call Dial.
type Dialer struct {
	broker        Broker
	paths         []segments    // to each server, in the order of broker.Servers
	preferredWait time.Duration // the current preferredWait

	versions []versionMemory // what is known of each server's version, in the order of broker.Servers
	referred referral        // to the server that is to be tried first
	// resumes says that a broker may have a session of ours, which ends with the will delay:
	// a clean start would end it at once, and the broker would publish the will although we
	// are back (section 3.1.2.5). It is false at first: a session of an earlier start of the
	// agent is not resumed.
	resumes bool

	findings map[string]finding // why a server does not answer, by its scheme and address
}

// NewDialer returns a dialer for a broker, which has at least one server. It opens
// no connection and no file.
func NewDialer(broker Broker) *Dialer { return newDialer(broker, preferredWait) }

// newDialer lets tests wait less for the preferred server.
func newDialer(broker Broker, look time.Duration) *Dialer {
	if broker.Clock == nil {
		broker.Clock = clock.NewTimekeeper(clock.TrustAuto)
	}
	d := &Dialer{broker: broker, paths: make([]segments, len(broker.Servers)), preferredWait: look,
		versions: make([]versionMemory, len(broker.Servers)), findings: map[string]finding{}}
	d.referred.servers, d.broker.referred = broker.Servers, &d.referred
	return d
}

// Dial connects to the servers in order until one accepts us. The broker publishes
// the will when the connection is lost; a will without a topic is none.
//
// The error names each server with the reason and with what a person can do about
// it. [RefusedError], [ProtocolError], [ErrBrokerClosed], [IsReset] and
// [IsUnreachable] tell what happened. The caller closes the connection.
func (d *Dialer) Dial(ctx context.Context, will Message) (*Conn, error) {
	var failed error
	for i, tried := d.referred.take(0), map[int]bool{}; i < len(d.broker.Servers) && ctx.Err() == nil; {
		tried[i] = true
		server := d.broker.Servers[i]
		conn, err := d.dialVersion(ctx, i, will)
		if err == nil {
			d.connected(conn, i)
			return conn, nil
		}
		d.referred.noteIn(err)
		err = d.broker.explain(d.diagnose(ctx, server, will, err))
		if failed == nil {
			failed = fmt.Errorf("%s: %w", server.Host, err)
		} else {
			failed = fmt.Errorf("%w; %s: %w", failed, server.Host, err)
		}
		if i = d.referred.take(0); tried[i] {
			for i = 0; tried[i]; i++ {
			}
		}
	}
	if failed == nil {
		failed = ctx.Err()
	}
	return nil, failed
}

// connected records a connection to the server with this index.
func (d *Dialer) connected(conn *Conn, i int) {
	server := d.broker.Servers[i]
	delete(d.findings, server.Scheme+server.Host)
	d.resumes = d.broker.WillDelay > 0
	if i == 0 {
		d.preferredWait = preferredWait
		return
	}
	conn.watch(d.broker, d.preferredWait)
	d.preferredWait = min(2*d.preferredWait, maxPreferredWait) // it may accept a connection and refuse our CONNECT
}

// dialServer connects to one server, with broker.Protocol, which is not Auto. path has what
// is known of the way there, and learns from how the connection ends.
func dialServer(ctx context.Context, broker Broker, server *url.URL, path *segments, will Message) (*Conn, error) {
	limits := broker.limits()
	broker.segment = path.limit()
	certs := new(connCertificates)
	password, config, err := readAccount(ctx, broker, server, certs.show)
	if err != nil {
		return nil, err
	}
	socket, err := openSocket(ctx, broker, server, config)
	if err != nil {
		return nil, path.notMade(broker.TLS.explainUntrusted(ctx, err))
	}
	c := &Conn{connCertificates: certs, path: path, began: time.Now(), server: server.Host,
		lost: make(chan struct{}), received: newReceiver(), lookout: lookout{preferred: make(chan struct{})},
		referred: broker.referred}
	c.wire = newWire(socket, limits, c.end)
	c.wire.keepAlive = broker.KeepAlive
	if broker.Protocol == V5 {
		c.protocol = newClient5(c, broker, password, will)
	} else {
		c.protocol = newClient311(c, broker, server, password, will)
	}
	if err = c.protocol.connect(ctx); err != nil {
		c.Close() // its own error says nothing more
		return nil, err
	}
	c.pinging.Go(c.wire.ping)
	return c, nil
}

// readAccount reads the password and the files of TLS. show is called with the
// certificates after the handshake.
func readAccount(ctx context.Context, broker Broker, server *url.URL, show func([]Certificate)) (string, *tls.Config,
	error) {
	ctx, cancel := context.WithTimeout(ctx, broker.limits().Connect)
	defer cancel()
	password, err := broker.Password.Read(ctx)
	if err != nil {
		return "", nil, err
	}
	config, err := broker.TLS.config(ctx, server.Hostname(), show)
	return password, config, err
}

// A protocol speaks one version of MQTT above the wire: all packets except PUBLISH, its
// PUBACK and PINGREQ, which the wire handles. Its methods may be called from any goroutine,
// except connect and close.
type protocol interface {
	// connect sends CONNECT, and returns the broker's answer to it: nil, a RefusedError, or
	// why there is none. It is called once, before all others.
	connect(ctx context.Context) error
	// subscribe sends a SUBSCRIBE at QoS 1, and returns when the wire has queued it. live
	// asks for what others publish from now on, as far as the version can.
	subscribe(topic string, live bool) Token
	// unsubscribe sends an UNSUBSCRIBE, and returns when the wire has queued it.
	unsubscribe(topic string) Token
	// disconnect sends DISCONNECT, and waits for quiesce at most for it to be written. With
	// will, the broker is to publish the will, if the version can say so.
	disconnect(will bool)
	// close ends the goroutines, when the wire was dropped before.
	close()
}

// A Conn is one connection: a client of one version of MQTT on a wire of ours.
// Publications at QoS 1 go past the client, straight to the wire. Its methods may be
// called from any goroutine. The fields without a comment on their lock are set before
// the first of them can be called.
type Conn struct {
	*connCertificates
	protocol protocol
	wire     *wire
	received *receiver
	path     *segments
	began    time.Time // when the socket was connected
	server   string    // host:port
	facts    Facts     // set when CONNECT was answered
	referred *referral // of the Dialer; nil: there is none

	pinging sync.WaitGroup // the goroutine that sends PINGREQ

	once sync.Once     // guards why, and closes lost
	lost chan struct{} // closed when the connection is lost
	why  error         // may be read after lost is closed

	lookout
}

// A lookout holds the state of watch, which checks whether the preferred server is back.
type lookout struct {
	preferred chan struct{}      // closed by the goroutine of watch
	stop      context.CancelFunc // ends watch; nil if there is none
	watched   sync.WaitGroup     // the goroutine of watch
}

// Done returns a channel that is closed when the connection is lost or closed.
func (c *Conn) Done() <-chan struct{} { return c.lost }

// Err returns why the connection was lost: the first reason that was noticed, or
// [net.ErrClosed] after Close. It must not be called before Done is closed.
func (c *Conn) Err() error { return c.why }

// Received returns the channel of the messages that were received, without those for
// Expect and Handle. It is never closed. Messages are dropped while maxHeard of them
// wait.
func (c *Conn) Received() <-chan Message { return c.received.heard }

// Handle has f called with each message on a topic, in the order in which they come.
// Call it before Subscribe. f must not block: PUBACKs are read by the goroutine that
// calls it.
func (c *Conn) Handle(topic string, f func(Message)) { c.received.handle(topic, f) }

// Facts returns what the broker has said of the connection when it accepted it.
func (c *Conn) Facts() Facts { return c.facts }

// Responds reports whether the broker has answered the last PINGREQ: then it has read all
// that was sent before it.
func (c *Conn) Responds() bool { return !c.wire.pinged.Load() }

// Server returns the server of the connection as host:port.
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

// Flush starts to write what was enqueued. It does not wait for the link.
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
func (c *Conn) Subscribe(topic string) Token { return c.protocol.subscribe(topic, false) }

// SubscribeLive is Subscribe to what others publish from now on, with MQTT 5 (No Local and
// Retain Handling 2, section 3.8.3.1). With 3.1.1, what is retained and what we publish
// ourselves comes, too.
func (c *Conn) SubscribeLive(topic string) Token { return c.protocol.subscribe(topic, true) }

// Unsubscribe sends an UNSUBSCRIBE for a topic. It returns when the packet is
// queued, so it is written before what is published next.
func (c *Conn) Unsubscribe(topic string) Token { return c.protocol.unsubscribe(topic) }

// Expect returns a channel that is closed when the broker sends a message back to
// us, see [Echoes.Expect]. Call it before the message is published.
func (c *Conn) Expect(m Message) <-chan struct{} { return c.received.echoes.Expect(m) }

// Disconnect sends DISCONNECT, after which the broker forgets the will, and waits a
// quarter of a second at most for it to be written. Close has to follow.
func (c *Conn) Disconnect() { c.protocol.disconnect(false) }

// DisconnectWithWill asks the broker to publish the will at once, with MQTT 5; with 3.1.1
// Close alone does so. It waits as Disconnect does, and Close has to follow.
func (c *Conn) DisconnectWithWill() { c.protocol.disconnect(true) }

// Close closes the socket and waits for the goroutines of the connection. It sends
// no DISCONNECT: without a call of Disconnect before, the broker publishes the will.
// It may be called more than once.
func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	if c.stop != nil {
		c.stop()
	}
	err := c.wire.drop()
	c.protocol.close()
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

// end records why the connection is lost, and fails the tokens of the messages in flight.
// Only the first call has an effect: later errors are consequences of the first.
func (c *Conn) end(why error) {
	c.once.Do(func() {
		c.lose(c.path.ended(why, stalled(c.wire.Conn), c.began))
	})
}

// lose closes lost with the reason why. It is called once, by once.
func (c *Conn) lose(why error) {
	if c.why = why; c.referred != nil {
		c.referred.noteIn(why)
	}
	close(c.lost)
	c.wire.failAll()
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
