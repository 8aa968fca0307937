// Package jetstream receives from NATS what agents publish to its MQTT gateway, and
// acknowledges it when it is told to.
//
// The gateway answers a publish at QoS 1 when the stream $MQTT_msgs has stored it, on
// as many servers as the stream has replicas. That stream keeps a message until each
// of its consumers has acknowledged it, so a durable consumer of that stream misses
// nothing. A stream of one's own on the subjects of the topics would: the gateway does
// not wait for it.
//
// # Concurrency
//
// One goroutine may call Read, and another one Acknowledge. Close may be called by
// any.
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

// Names of the MQTT gateway. They are in the server's own file format, so they do not
// change: nats-server 2.10 to 2.15 have them.
const (
	messages = "$MQTT_msgs"  // the stream of all messages at QoS 1
	prefix   = "$MQTT.msgs." // of its subjects
	retained = "$MQTT_rmsgs" // the stream of the retained messages
)

// filters are the subjects of what the recorder wants: "+/+" and "+/agent/+".
var filters = []string{prefix + "*.*", prefix + "*.agent.*"}

const (
	// ackWait is how long the server waits for an acknowledgement before it sends a
	// message again, perhaps to another recorder. What is under way for longer is extended:
	// see extend.
	ackWait = 30 * time.Second
	// maxPending is how many messages all recorders of a group may have unacknowledged.
	maxPending = 50_000
	// maxFetched and maxFetchedBytes bound what one request asks for. These messages wait
	// in the library, where they are not extended: so they are few. The bytes are more
	// than any message has: NATS recommends 8 MiB at most.
	maxFetched      = 500
	maxFetchedBytes = 8 << 20
	// heartbeat is how often the server says that it has nothing. After two of them
	// without a word the connection counts as dead.
	heartbeat = 10 * time.Second
	timeout   = 10 * time.Second // of one request to the server
)

// Options say where the messages are. All recorders that have one Consumer share the
// work: each message goes to one of them, and to another if that one does not
// acknowledge it.
type Options struct {
	Servers    []string // nats://HOST:PORT or tls://HOST:PORT; one of a cluster is enough
	Consumer   string   // the durable name under which the server notes what was acknowledged
	Username   string
	Password   mqtt.Secret   // read for each connection
	TLS        mqtt.TLS      // CA, Cert and Key; files are read for each connection
	Keep       time.Duration // how long the server keeps a message, for recorders that are away
	MaxPayload int           // bytes of a payload; of a longer one the first MaxKept are returned
	MaxKept    int
}

// A Conn is one connection with its consumer. Its exported fields are set by Dial and
// do not change.
type Conn struct {
	Fresh  bool   // the server had no consumer for us: it kept nothing that was published before
	Server string // host and port

	options Options
	nc      *nats.Conn
	history jetstream.MessagesContext
	known   []subscribe.Message // retained messages that Read returns first; of Read alone
	arrived chan subscribe.Message
	failed  chan error // has room for the one error that ends the connection
	beats   chan *nats.Msg
	closed  chan struct{}
	once    sync.Once
	running sync.WaitGroup

	mu       sync.Mutex
	underWay map[string]time.Time // guarded by mu: by the subject of its acknowledgement, when it is to be extended
}

// Dial connects to one of the servers, and makes the consumer if it is not there. The
// error says what to change. The caller closes the connection.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	// For each connection anew: a password may be changed without a restart.
	password, err := o.Password.Read(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := connect(ctx, o, password)
	if err != nil {
		return nil, err
	}
	c := &Conn{options: o, nc: nc, Server: nc.ConnectedAddr(), arrived: make(chan subscribe.Message),
		failed: make(chan error, 1), beats: make(chan *nats.Msg, 64), closed: make(chan struct{}),
		underWay: map[string]time.Time{}}
	if err := c.open(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	c.running.Go(c.feed)
	c.running.Go(c.extend)
	return c, nil
}

// A dialer stops dialling when its context is done: the library's own would go on with
// each server of a cluster.
type dialer struct{ ctx context.Context }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	one := net.Dialer{Timeout: timeout}
	return one.DialContext(d.ctx, network, address)
}

// connect opens the connection. It is not opened again when it is lost: the caller
// dials anew, and notes each connection in the database.
func connect(ctx context.Context, o Options, password string) (*nats.Conn, error) {
	options := nats.Options{Servers: o.Servers, Name: "holdfast-recorder " + o.Consumer, Timeout: timeout,
		CustomDialer: dialer{ctx}, User: o.Username, Password: password, PingInterval: 10 * time.Second, MaxPingsOut: 2,
		// What the server refuses later, such as a subject, is no end of the connection.
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

// open finds or makes the consumer, and begins to receive.
func (c *Conn) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	js, err := jetstream.New(c.nc)
	if err != nil {
		return err
	}
	// It is asked for first, so that a new one is known as new.
	consumer, err := js.Consumer(ctx, messages, c.options.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c.Fresh = true
		// Two recorders of one group may make it at the same time: both ask for the same.
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
	if err := c.keep(ctx, js); err != nil {
		return err
	}
	if c.Fresh {
		c.known = c.retained(ctx, js)
	}
	// Heartbeats are at QoS 0, which no stream keeps. Who must not subscribe to them goes
	// without; each goes to one recorder of the group.
	if _, err := c.nc.ChanQueueSubscribe("*.agent.health", c.options.Consumer, c.beats); err != nil {
		return err
	}
	c.history, err = consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(maxFetched, maxFetchedBytes),
		jetstream.PullExpiry(3*heartbeat), jetstream.PullHeartbeat(heartbeat))
	return err
}

// keep makes the stream keep its messages for a time, acknowledged or not. The server
// makes it with retention by interest: each replica then decides by itself, as it stores a
// message, whether any consumer wants it. One that has just started may not know its
// consumers yet, drops the message, and may become the leader.
func (c *Conn) keep(ctx context.Context, js jetstream.JetStream) error {
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

// retained reads what agents have said of themselves before the consumer was there. It
// tells which start was under way already. Without it less is known, and nothing is
// lost, so there is no error.
func (c *Conn) retained(ctx context.Context, js jetstream.JetStream) (all []subscribe.Message) {
	stream, err := js.Stream(ctx, retained)
	if err != nil {
		return nil
	}
	for sequence := uint64(1); ; {
		m, err := stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject("$MQTT.rmsgs.*.agent.*"))
		if err != nil {
			return all // the end of the stream, too
		}
		sequence = m.Sequence + 1
		found := c.message("$MQTT.msgs."+m.Subject[len("$MQTT.rmsgs."):], m.Data, "")
		found.Retained = true
		all = append(all, found)
	}
}

// feed hands over what arrives until the connection ends or is drained.
func (c *Conn) feed() {
	// An error ends the connection, also one that the library would live through, such as a
	// stream without a leader: there is one way to begin again, and the log has it.
	for {
		m, err := c.history.Next()
		if err != nil {
			c.failed <- c.reason(err)
			return
		}
		c.note(m.Reply())
		select {
		case c.arrived <- c.message(m.Subject(), m.Data(), m.Reply()):
		case <-c.closed:
			return // the server sends it again
		}
	}
}

// note remembers a message until it is acknowledged.
func (c *Conn) note(reply string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay[reply] = time.Now().Add(ackWait / 3)
}

// extend tells the server of messages that are under way for long, until the connection
// is closed: else it would send them again and again while the database is slow, and all
// recorders would do nothing but recognise second copies.
func (c *Conn) extend() {
	t := time.NewTicker(ackWait / 6)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			for _, reply := range c.due(now) {
				c.nc.Publish(reply, []byte("+WPI")) // if it fails, the connection has ended, and Read says so
			}
		case <-c.closed:
			return
		}
	}
}

// due returns what is to be extended now, and sets its next time.
func (c *Conn) due(now time.Time) (replies []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for reply, at := range c.underWay {
		if now.After(at) {
			c.underWay[reply] = now.Add(ackWait / 3)
			replies = append(replies, reply)
		}
	}
	return replies
}

// reason makes an error for the log of the end of the iterator.
func (c *Conn) reason(err error) error {
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

// message makes a message for the caller. It is cut as package subscribe cuts it.
func (c *Conn) message(subject string, payload []byte, reply string) subscribe.Message {
	m := subscribe.Message{Topic: topic(subject), Payload: payload, Size: len(payload), Reply: reply}
	if len(payload) > c.options.MaxPayload {
		m.Payload = append([]byte(nil), payload[:c.options.MaxKept]...) // the rest can go
	}
	return m
}

// Read waits for the next message. The error is the end of the connection.
func (c *Conn) Read() (subscribe.Message, error) {
	// What was known before the first message comes before it: it says which boots are old.
	if len(c.known) > 0 {
		m := c.known[0]
		c.known = c.known[1:]
		return m, nil
	}
	select {
	case m := <-c.arrived:
		return m, nil
	case beat := <-c.beats:
		return c.message(prefix+beat.Subject, beat.Data, ""), nil
	case err := <-c.failed:
		return subscribe.Message{}, err
	}
}

// StopReading ends Read, which returns first what has been received. Messages can
// still be acknowledged.
func (c *Conn) StopReading() { c.history.Drain() }

// Acknowledge acknowledges messages, in any order. If one is lost on its way, the
// server sends the message again.
func (c *Conn) Acknowledge(all []subscribe.Message) error {
	// First, so that none of them is extended after its acknowledgement.
	c.mu.Lock()
	for i := range all {
		delete(c.underWay, all[i].Reply)
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

// Disconnect waits until the server has the acknowledgements. Close has to follow.
func (c *Conn) Disconnect() error { return c.nc.FlushTimeout(timeout) }

// Close closes the connection, and waits for its goroutines. The server keeps the
// consumer, and sends again what is not acknowledged.
func (c *Conn) Close() error {
	// May be called twice. Stop ends Next, for which feed waits.
	c.once.Do(func() {
		close(c.closed)
		c.history.Stop()
		c.nc.Close()
	})
	c.running.Wait()
	return nil
}
