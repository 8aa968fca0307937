package uplink

import (
	"context"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A Conn is one connection to the broker; a [mqtt.Conn] is one. A session calls it
// from its own goroutine, except for Close and Certificates.
type Conn interface {
	// Publish sends a message. The payload is copied: it may be changed after Publish
	// returns. It may block while the link is busy.
	Publish(mqtt.Message) mqtt.Token
	// Enqueue is Publish, but the message may stay here until Flush is called.
	Enqueue(mqtt.Message) mqtt.Token
	// Flush sends what was enqueued. It does not wait for the link.
	Flush()
	// Await returns a channel that is closed, or gets a token, when a packet is answered.
	// Each call ends the wait for what an earlier one was for.
	Await(mqtt.Token) <-chan struct{}
	// Subscribe sends a SUBSCRIBE at QoS 1, before anything that is published later. The
	// token fails with a [mqtt.DeniedError] if the broker refuses.
	Subscribe(topic string) mqtt.Token
	// SubscribeLive is Subscribe to what others publish from now on: with MQTT 5 neither
	// what is retained nor what we publish comes.
	SubscribeLive(topic string) mqtt.Token
	// Unsubscribe sends an UNSUBSCRIBE, before anything that is published later.
	Unsubscribe(topic string) mqtt.Token
	// Expect returns a channel that is closed when the broker forwards the message to
	// us. It is called before the message is published, and the topic has to be
	// subscribed to. Messages on the topic do not come from Received.
	Expect(mqtt.Message) <-chan struct{}
	// Handle has f called with each message on a topic, by a goroutine of the connection,
	// in the order in which they come. It is called before the topic is subscribed to. f
	// must not block. Messages on the topic do not come from Received.
	Handle(topic string, f func(mqtt.Message))
	// Received returns the channel of the messages on topics that are subscribed to.
	Received() <-chan mqtt.Message
	// Done returns a channel that is closed when the connection is lost.
	Done() <-chan struct{}
	// Err returns why the connection was lost, once Done is closed.
	Err() error
	// Server is the other end: host:port.
	Server() string
	// Facts returns what the broker said of the connection when it accepted it.
	Facts() mqtt.Facts
	// Responds reports whether the broker has answered the last PINGREQ.
	Responds() bool
	// Certificates returns those that the connection depends on; none without TLS.
	Certificates() []mqtt.Certificate
	// Preferred returns a channel that is closed when a server that is preferred to this
	// one accepts connections again.
	Preferred() <-chan struct{}
	// Disconnect sends DISCONNECT: the broker forgets the will. Close has to follow.
	Disconnect()
	// DisconnectWithWill sends a DISCONNECT that asks for the will at once, with MQTT 5: Close
	// alone leaves it to the will delay. Close has to follow.
	DisconnectWithWill()
	// Close closes the connection without DISCONNECT: the broker publishes the will. It
	// may be called from any goroutine, and more than once.
	Close() error
	// Abandon is Close of a connection that our own network took away.
	Abandon()
}

// A Dial connects to the broker, which publishes will when the connection is lost. It
// returns when ctx is done. The caller closes the connection.
type Dial func(ctx context.Context, will mqtt.Message) (Conn, error)

// DialMQTT returns a [Dial] that connects by MQTT 3.1.1 or 5 to the first of the broker's
// servers that answers. Only one goroutine at a time may call it.
func DialMQTT(broker mqtt.Broker) Dial {
	d := mqtt.NewDialer(broker)
	return func(ctx context.Context, will mqtt.Message) (Conn, error) {
		conn, err := d.Dial(ctx, will)
		if err != nil {
			return nil, err // not conn: a Conn with a nil pointer in it is not nil
		}
		return conn, nil
	}
}
