// Package jetstream receives from NATS what agents publish to its MQTT gateway, and
// acknowledges messages when the caller asks for it.
//
// The gateway acknowledges a publish at QoS 1 when the stream $MQTT_msgs has stored it, on as
// many servers as the stream has replicas. A durable consumer of this stream misses nothing. A
// separate stream on the subjects of the topics could miss messages, because the gateway does
// not wait for it.
//
// # Concurrency
//
// One goroutine may call Read, and another one Acknowledge. Any goroutine may call Close.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// Names in the MQTT gateway. Servers store them on disk, so they are stable: nats-server 2.10
// to 2.15 use them.
const (
	messages = "$MQTT_msgs"  // the stream of all messages at QoS 1
	prefix   = "$MQTT.msgs." // prefix of its subjects
	retained = "$MQTT_rmsgs" // the stream of the retained messages
)

// filters are the subjects of the topics "+/+" and "+/agent/+".
var filters = []string{prefix + "*.*", prefix + "*.agent.*"}

const (
	// ackWait is how long the server waits for an acknowledgement before it sends a message
	// again, perhaps to another recorder. extend prolongs it for messages that need longer.
	ackWait = 30 * time.Second
	// maxPending is the maximum number of unacknowledged messages of all recorders of a group.
	maxPending = 50_000
	// maxFetched and maxFetchedBytes bound one pull request. extend does not know of messages
	// that wait in the library, so they must be few. maxFetchedBytes must be larger than any
	// message: NATS recommends at most 8 MiB for one.
	maxFetched      = 500
	maxFetchedBytes = 8 << 20
	// heartbeat is the interval of the server's idle heartbeats. If two are missing, the
	// connection counts as dead.
	heartbeat = 10 * time.Second
	timeout   = 10 * time.Second // of one request to the server
)

// Options describe the servers and the consumer. Recorders with the same Consumer share the
// work: each message goes to one of them, and to another one if it is not acknowledged.
type Options struct {
	Servers    []string // nats://HOST:PORT or tls://HOST:PORT; one of a cluster is enough
	Consumer   string   // durable name; the server stores what this consumer has acknowledged
	Username   string
	Password   mqtt.Secret   // read for each connection
	TLS        mqtt.TLS      // CA, Cert and Key; files are read for each connection
	Keep       time.Duration // maximum age of a message in the stream: the longest outage of a recorder
	MaxPayload int           // bytes; of a longer payload only the first MaxKept bytes are returned
	MaxKept    int
}

// A Conn is one connection with its consumer. Dial sets its exported fields; they do not
// change.
type Conn struct {
	Fresh  bool   // the server had no consumer of this name: it kept nothing for us
	Server string // host and port

	options    Options
	nc         *nats.Conn
	iterator   jetstream.MessagesContext
	initial    []subscribe.Message // retained messages that Read returns first; only Read uses it
	arrived    chan subscribe.Message
	failed     chan error // buffered for the one error that ends the connection
	heartbeats chan *nats.Msg
	closed     chan struct{}
	once       sync.Once
	running    sync.WaitGroup

	mu      sync.Mutex
	unacked map[string]time.Time // guarded by mu: by reply subject, when to extend ackWait next
}

// Dial connects to one of the servers, and creates the consumer if it does not exist. The
// error says what to change. The caller closes the connection.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	// Read for each connection: the password may change without a restart.
	password, err := o.Password.Read(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := connect(ctx, o, password)
	if err != nil {
		return nil, err
	}
	c := &Conn{options: o, nc: nc, Server: nc.ConnectedAddr(), arrived: make(chan subscribe.Message),
		failed: make(chan error, 1), heartbeats: make(chan *nats.Msg, 64), closed: make(chan struct{}),
		unacked: map[string]time.Time{}}
	if err := c.open(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	c.running.Go(c.receive)
	c.running.Go(c.extend)
	return c, nil
}

// A dialer stops dialling when its context is done. The library's own dialer has no context,
// and would try all servers of a cluster.
type dialer struct{ ctx context.Context }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	one := net.Dialer{Timeout: timeout}
	return one.DialContext(d.ctx, network, address)
}

// connect opens a connection that does not reconnect by itself: the caller dials again, and
// stores each connection in the database.
func connect(ctx context.Context, o Options, password string) (*nats.Conn, error) {
	options := nats.Options{Servers: o.Servers, Name: "holdfast-recorder " + o.Consumer, Timeout: timeout,
		CustomDialer: dialer{ctx}, User: o.Username, Password: password, PingInterval: 10 * time.Second, MaxPingsOut: 2,
		// Ignore asynchronous errors, such as a subject without permission: see open.
		AsyncErrorCB: func(*nats.Conn, *nats.Subscription, error) {}}
	var with []nats.Option
	if o.TLS.CA != "" {
		with = append(with, nats.RootCAs(o.TLS.CA))
	}
	if o.TLS.Cert != "" {
		with = append(with, nats.ClientCert(o.TLS.Cert, o.TLS.Key))
	}
	for _, apply := range with {
		if err := apply(&options); err != nil {
			return nil, fmt.Errorf("nats.tls: %w", err)
		}
	}
	nc, err := options.Connect()
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return nil, errors.New("NATS refuses the account: correct nats.username and the password")
	case errors.Is(err, nats.ErrNoServers):
		return nil, fmt.Errorf("no NATS server answers at %v", o.Servers)
	}
	return nc, err
}

// open finds or creates the consumer, and starts to receive.
func (c *Conn) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	// Look it up first, to know whether it is new.
	consumer, err := js.Consumer(ctx, messages, c.options.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c.Fresh = true
		// Another recorder of the group may create the same one at the same time.
		consumer, err = js.CreateOrUpdateConsumer(ctx, messages, jetstream.ConsumerConfig{
			Durable: c.options.Consumer, FilterSubjects: filters, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: ackWait, MaxAckPending: maxPending, DeliverPolicy: jetstream.DeliverAllPolicy})
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("the stream %s is not there yet: the server makes it when the first MQTT client connects",
			messages)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return errors.New("the account has no JetStream: write jetstream: {store_dir: ...} into the server's file")
	case err != nil:
		return fmt.Errorf("the consumer %s of the stream %s: %w", c.options.Consumer, messages, err)
	}
	if err := c.setRetention(ctx, js); err != nil {
		return err
	}
	if c.Fresh {
		c.initial = c.readRetained(ctx, js)
	}
	// Heartbeats of agents have QoS 0, so no stream keeps them. A queue subscription delivers
	// each to one recorder of the group. An account without permission does without them.
	if _, err := c.nc.ChanQueueSubscribe("*.agent.health", c.options.Consumer, c.heartbeats); err != nil {
		return err
	}
	c.iterator, err = consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(maxFetched, maxFetchedBytes),
		jetstream.PullExpiry(3*heartbeat), jetstream.PullHeartbeat(heartbeat))
	return err
}

// setRetention makes the stream keep its messages for Options.Keep, acknowledged or not. The
// server creates the stream with interest retention: each replica decides by itself whether a
// consumer wants a message. A replica that has just started may not know the consumers yet. It
// then drops the message, and if it becomes the leader, the message is lost.
func (c *Conn) setRetention(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, messages)
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	if config.Retention == jetstream.LimitsPolicy && config.MaxAge == c.options.Keep {
		return nil
	}
	config.Retention, config.MaxAge = jetstream.LimitsPolicy, c.options.Keep
	if _, err = js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("the stream %s cannot be told to keep messages for %v: %w", messages, c.options.Keep, err)
	}
	return nil
}

// readRetained reads the retained messages of agents from before the consumer existed. They
// tell which boots are older than it. Errors are ignored: without these messages Verify
// explains less, but no reading is lost.
func (c *Conn) readRetained(ctx context.Context, js jetstream.JetStream) (all []subscribe.Message) {
	stream, err := js.Stream(ctx, retained)
	if err != nil {
		return nil
	}
	for sequence := uint64(1); ; {
		m, err := stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject("$MQTT.rmsgs.*.agent.*"))
		if err != nil {
			return all // also at the end of the stream
		}
		sequence = m.Sequence + 1
		found := c.message("$MQTT.msgs."+m.Subject[len("$MQTT.rmsgs."):], m.Data, "")
		found.Retained = true
		all = append(all, found)
	}
}

// receive passes messages to Read until the connection ends or is drained.
func (c *Conn) receive() {
	// Any error ends the connection, even one that the library could survive, such as a stream
	// without a leader. So there is one way to recover, which is logged.
	for {
		m, err := c.iterator.Next()
		if err != nil {
			c.failed <- c.explain(err)
			return
		}
		c.track(m.Reply())
		select {
		case c.arrived <- c.message(m.Subject(), m.Data(), m.Reply()):
		case <-c.closed:
			return // not acknowledged: the server sends it again
		}
	}
}

// track remembers a message until it is acknowledged, so that extend can prolong its ackWait.
func (c *Conn) track(reply string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unacked[reply] = time.Now().Add(ackWait / 3)
}

// extend prolongs ackWait of old unacknowledged messages, until the connection is closed.
// Otherwise the server would send them again and again while the database is slow, and all
// recorders would be busy with second copies.
func (c *Conn) extend() {
	t := time.NewTicker(ackWait / 6)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			for _, reply := range c.due(now) {
				c.nc.Publish(reply, []byte("+WPI")) // after an error Read fails, too
			}
		case <-c.closed:
			return
		}
	}
}

// due returns the reply subjects of the messages to extend now, and sets their next time.
func (c *Conn) due(now time.Time) (replies []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for reply, at := range c.unacked {
		if now.After(at) {
			c.unacked[reply] = now.Add(ackWait / 3)
			replies = append(replies, reply)
		}
	}
	return replies
}

// explain turns the error that ended the iterator into one for the log.
func (c *Conn) explain(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrConsumerDeleted):
		return fmt.Errorf("somebody has deleted the consumer %s", c.options.Consumer)
	case errors.Is(err, jetstream.ErrNoHeartbeat):
		return errors.New("the stream has no leader, or the server has been silent")
	case c.nc.IsClosed() && c.nc.LastError() != nil:
		return c.nc.LastError()
	case errors.Is(err, jetstream.ErrMsgIteratorClosed):
		return errors.New("the connection has ended")
	}
	return err
}

// message returns a message for the caller. It cuts the payload as package subscribe does.
func (c *Conn) message(subject string, payload []byte, reply string) subscribe.Message {
	m := subscribe.Message{Topic: topic(subject), Payload: payload, Size: len(payload), Reply: reply}
	if len(payload) > c.options.MaxPayload {
		m.Payload = append([]byte(nil), payload[:c.options.MaxKept]...) // a copy, so that the rest can be collected
	}
	return m
}

// Read waits for the next message. The error is the end of the connection.
func (c *Conn) Read() (subscribe.Message, error) {
	// Retained messages come first: they say which boots are older than the consumer.
	if len(c.initial) > 0 {
		m := c.initial[0]
		c.initial = c.initial[1:]
		return m, nil
	}
	select {
	case m := <-c.arrived:
		return m, nil
	case beat := <-c.heartbeats:
		return c.message(prefix+beat.Subject, beat.Data, ""), nil
	case err := <-c.failed:
		return subscribe.Message{}, err
	}
}

// StopReading makes Read fail after it has returned what was received. Messages can still be
// acknowledged.
func (c *Conn) StopReading() { c.iterator.Drain() }

// Acknowledge acknowledges messages, in any order. If an acknowledgement is lost, the server
// sends the message again.
func (c *Conn) Acknowledge(all []subscribe.Message) error {
	// Forget them first, so that extend does not run after an acknowledgement.
	c.mu.Lock()
	for i := range all {
		delete(c.unacked, all[i].Reply)
	}
	c.mu.Unlock()
	for i := range all {
		if all[i].Reply == "" {
			continue // a heartbeat, or a retained message
		}
		if err := c.nc.Publish(all[i].Reply, []byte("+ACK")); err != nil {
			return err
		}
	}
	return nil
}

// Disconnect waits until the server has received the acknowledgements. The caller must still
// call Close.
func (c *Conn) Disconnect() error { return c.nc.FlushTimeout(timeout) }

// Close closes the connection and waits for its goroutines. It may be called twice. The server
// keeps the consumer, and sends again what is not acknowledged.
func (c *Conn) Close() error {
	// Stop ends Next, in which receive may wait.
	c.once.Do(func() {
		close(c.closed)
		c.iterator.Stop()
		c.nc.Close()
	})
	c.running.Wait()
	return nil
}
