package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	connectTimeout = 10 * time.Second
	writeTimeout   = 10 * time.Second // paho's default waits for ever on a half-open link
	pingTimeout    = 10 * time.Second
	userTimeout    = 20 * time.Second // for sent data that the peer's kernel does not acknowledge
	ackTimeout     = 30 * time.Second // a broker that answers pings and acknowledges nothing
	quiesce        = 250              // ms for the disconnect to be written
)

// DialMQTT returns a [Dial] that speaks MQTT 3.1.1 to the first of the servers
// that answers.
//
// Each connection is a new client with a clean session and without the
// library's own reconnecting, which completes publications that the broker
// never acknowledged.
func DialMQTT(opt Options) Dial {
	return func(ctx context.Context, will Message) (Conn, error) {
		var errs []error
		for _, server := range opt.Servers {
			conn, err := dialServer(ctx, opt, server, will)
			if err == nil {
				return conn, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", server.Host, err))
			if ctx.Err() != nil {
				break
			}
		}
		return nil, errors.Join(errs...)
	}
}

func dialServer(ctx context.Context, opt Options, server *url.URL, will Message) (Conn, error) {
	conn := &mqttConn{lost: make(chan struct{}), shown: new(shown)}
	options, err := clientOptions(opt, server, will, conn.show)
	if err != nil {
		return nil, err
	}
	options.SetCustomOpenConnectionFn(func(uri *url.URL, o mqtt.ClientOptions) (socket net.Conn, err error) {
		socket, err = openSocket(uri, o.TLSConfig)
		conn.socket = socket
		return socket, err
	})
	options.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		conn.why = err
		close(conn.lost)
	})
	conn.client = mqtt.NewClient(options)
	token := conn.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		conn.client.Disconnect(0)
		return nil, ctx.Err()
	}
	if err := connectError(token.(*mqtt.ConnectToken)); err != nil {
		return nil, err
	}
	return conn, nil
}

func clientOptions(opt Options, server *url.URL, will Message, show func([]certificate)) (*mqtt.ClientOptions, error) {
	password, err := opt.Password.Read()
	if err != nil {
		return nil, err
	}
	config, err := opt.TLS.config(server.Hostname(), show)
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
		SetOrderMatters(false).
		SetKeepAlive(opt.KeepAlive).
		SetPingTimeout(min(pingTimeout, opt.KeepAlive)).
		SetWriteTimeout(writeTimeout).
		SetConnectTimeout(connectTimeout).
		SetTLSConfig(config).
		SetDefaultPublishHandler(func(mqtt.Client, mqtt.Message) {})
	if will.Topic != "" {
		o.SetBinaryWill(will.Topic, will.Payload, 1, will.Retain)
	}
	o.SetUsername(opt.Username).SetPassword(password)
	if opt.Username == "" && password != "" {
		o.SetUsername(opt.ClientID)
	}
	return o, nil
}

// openSocket connects to a server, for a connection that can be dropped: paho
// itself only ever ends one in order, and the broker then forgets the will.
func openSocket(server *url.URL, config *tls.Config) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: connectTimeout, Control: setUserTimeout}
	switch server.Scheme {
	case "mqtts":
		return tls.DialWithDialer(dialer, "tcp", server.Host, config)
	case "ws", "wss":
		return mqtt.NewWebsocket(server.String(), config, connectTimeout, nil, &mqtt.WebsocketOptions{})
	default:
		return dialer.Dial("tcp", server.Host)
	}
}

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT of tcp(7), in milliseconds

// setUserTimeout bounds how long the kernel keeps sending into a link whose
// other end is gone.
func setUserTimeout(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout.Milliseconds()))
	})
	return errors.Join(err, failed)
}

// mqttConn is one connection of paho's.
type mqttConn struct {
	*shown // the certificates of the connection
	client mqtt.Client
	socket net.Conn
	lost   chan struct{}
	why    error // set before lost is closed
}

// Err says why the connection was lost, once Done is closed.
func (c *mqttConn) Err() error { return c.why }

func (c *mqttConn) Done() <-chan struct{} { return c.lost }

func (c *mqttConn) Publish(ctx context.Context, msgs ...Message) error {
	tokens := make([]mqtt.Token, len(msgs))
	for i, m := range msgs {
		tokens[i] = c.client.Publish(m.Topic, 1, m.Retain, m.Payload)
	}
	watchdog := time.NewTimer(ackTimeout)
	defer watchdog.Stop()
	for _, t := range tokens {
		select {
		case <-t.Done():
			if err := t.Error(); err != nil {
				return err
			}
			watchdog.Reset(ackTimeout)
		case <-watchdog.C:
			return fmt.Errorf("the broker has acknowledged nothing for %v", ackTimeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *mqttConn) Disconnect() { c.client.Disconnect(quiesce) }

func (c *mqttConn) Close() error {
	err := c.socket.Close()
	c.client.Disconnect(0) // waits until the library has let go of it
	if errors.Is(err, net.ErrClosed) {
		return nil // the library was quicker
	}
	return err
}

// A RefusedError is a broker's answer to CONNECT that says no.
type RefusedError struct{ Code byte } // MQTT 3.1.1, section 3.2.2.3

func (e *RefusedError) Error() string {
	what, ok := map[byte]string{
		1: "it does not speak MQTT 3.1.1",
		2: "it does not take this client ID: set client_id",
		3: "it says it is not available",
		4: "wrong user name or password: see mqtt.username and mqtt.password_file",
		5: "not authorised: see mqtt.username and mqtt.password_file, and the broker's access list",
	}[e.Code]
	if !ok {
		what = "a code that MQTT 3.1.1 does not know"
	}
	return fmt.Sprintf("the broker refuses the connection (code %d): %s", e.Code, what)
}

// connectError tells a refusal from a failure. The library takes codes above 5
// for success; the connection is closed then, and the session ends at once.
func connectError(token *mqtt.ConnectToken) error {
	if code := token.ReturnCode(); code >= 1 && code <= 5 {
		return &RefusedError{code}
	}
	return token.Error()
}
