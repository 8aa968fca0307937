package mqtt

import (
	"context"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A client311 speaks MQTT 3.1.1: a client of the library, with a clean session. The wire
// checks what the library reads, see wire.check.
type client311 struct {
	conn   *Conn
	client paho.Client

	requesting sync.Mutex // held while one SUBSCRIBE or UNSUBSCRIBE is on its way to the wire
}

func newClient311(c *Conn, broker Broker, server *url.URL, password string, will Message) *client311 {
	o := clientOptions(broker, server, password, will)
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c.wire, nil })
	// The library reports every loss here. Those that the wire has found come too late for
	// end to count them; what remains is a packet that the library cannot decode.
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { c.end(err) })
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		c.received.hear(Message{Topic: m.Topic(), Payload: m.Payload(), Retain: m.Retained(), Repeated: m.Duplicate()})
	})
	return &client311{conn: c, client: paho.NewClient(o)}
}

// clientOptions returns the options of the library.
func clientOptions(broker Broker, server *url.URL, password string, will Message) *paho.ClientOptions {
	limits := broker.limits()
	o := paho.NewClientOptions().
		AddBroker(server.String()).
		SetClientID(broker.ClientID).
		SetProtocolVersion(4). // MQTT 3.1.1 only: else the library tries MQTT 3.1 after each refusal
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetKeepAlive(0). // the wire writes that of the broker into CONNECT, and sends PINGREQ
		SetWriteTimeout(limits.Write).
		SetConnectTimeout(limits.Connect)
	if will.Topic != "" {
		o.SetBinaryWill(will.Topic, will.Payload, 1, will.Retain)
	}
	o.SetUsername(broker.user(password)).SetPassword(password)
	return o
}

// connect is as protocol has it.
func (c *client311) connect(ctx context.Context) error {
	token := c.client.Connect()
	select {
	case <-token.Done():
		c.conn.facts = Facts{Version: V311, KeepAlive: c.conn.wire.keepAlive}
		return c.answer(token.(*paho.ConnectToken))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// subscribe is as protocol has it. This version cannot say that it wants no retained
// messages, nor that it does not want its own.
func (c *client311) subscribe(topic string, _ bool) Token {
	token := c.request(func() paho.Token { return c.client.Subscribe(topic, 1, nil) })
	return subscription{request{token}, topic}
}

// unsubscribe is as protocol has it.
func (c *client311) unsubscribe(topic string) Token {
	return request{c.request(func() paho.Token { return c.client.Unsubscribe(topic) })}
}

// request has the library send a packet, and returns when the wire has queued it. The
// library writes it in a goroutine of its own; without waiting, a probe that is
// published next could be sent before its subscription, and would not come back.
func (c *client311) request(send func() paho.Token) paho.Token {
	c.requesting.Lock()
	defer c.requesting.Unlock()
	queued := c.conn.wire.requested
	select {
	case <-queued: // left by a request that did not wait for it
	default:
	}
	token := send()
	select {
	case <-queued:
	case <-token.Done(): // it failed, or was answered already
	case <-c.conn.lost:
	}
	return token
}

// disconnect is as protocol has it. This version cannot ask for the will: without
// DISCONNECT the broker publishes it.
func (c *client311) disconnect(will bool) {
	if !will {
		c.client.Disconnect(uint(quiesce / time.Millisecond))
	}
}

func (c *client311) close() { c.client.Disconnect(0) }

// answer returns the result of CONNECT when its token is done, as connect does. The code
// is that which the wire has seen, as the library takes codes above 5 for success.
func (c *client311) answer(token *paho.ConnectToken) error {
	if code := c.conn.wire.code.Load(); code > 0 {
		return &RefusedError{Code: byte(code)}
	}
	if err := token.Error(); err != nil {
		select {
		case <-c.conn.lost: // the wire has the reason; the library only has EOF
			return c.conn.why
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
		return &DeniedError{Topic: s.topic}
	}
	return nil
}
