package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const (
	tcpUserTimeout  = 18 // TCP_USER_TIMEOUT of tcp(7), in milliseconds
	tcpNotSentLowat = 25 // TCP_NOTSENT_LOWAT of tcp(7), in bytes

	maxUserTimeout = 20 * time.Second
	maxNotSent     = 16 << 10  // bytes that the kernel holds back: an alarm waits behind them
	maxUpgrade     = 256 << 10 // bytes of the answer to a WebSocket's request, with TLS and proxy
)

// openSocket connects to a server, for a connection that can be dropped: paho
// itself only ever ends one in order, and the broker then forgets the will.
func openSocket(ctx context.Context, broker Broker, server *url.URL, config *tls.Config) (net.Conn, error) {
	limits := broker.limits()
	ctx, cancel := context.WithTimeout(ctx, limits.Connect)
	defer cancel()
	d := &tcpDialer{bind: broker.Bind, instead: broker.Network}
	d.Control = control(broker.Bind, min(maxUserTimeout, limits.Silence), broker.segment)
	if a, err := netip.ParseAddr(broker.Bind); err == nil {
		d.LocalAddr = &net.TCPAddr{IP: a.AsSlice(), Zone: a.Zone()}
	}
	conn, err := dialScheme(ctx, d, server, config)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no %s connection in %v: %w", server.Scheme, limits.Connect, err)
	}
	return conn, err
}

func dialScheme(ctx context.Context, d *tcpDialer, server *url.URL, config *tls.Config) (net.Conn, error) {
	switch server.Scheme {
	case "mqtts":
		return d.dialTLS(ctx, server.Host, config)
	case "ws", "wss":
		return dialWebsocket(ctx, d, server, config)
	default:
		return d.DialContext(ctx, "tcp", server.Host)
	}
}

// control sets up a socket before it connects: it bounds how long the kernel
// keeps sending into a link whose other end is gone, and how much it holds back.
func control(bind string, timeout time.Duration, segment int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(timeout.Milliseconds())),
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, maxNotSent),
				bound(fd, segment),
				bindTo(int(fd), bind))
		})
		return errors.Join(err, failed)
	}
}

// bindTo keeps a socket on an interface, if it is the name of one.
func bindTo(fd int, name string) error {
	if _, err := netip.ParseAddr(name); name == "" || err == nil {
		return nil
	}
	if err := syscall.BindToDevice(fd, name); err != nil {
		return fmt.Errorf("mqtt.bind: interface %s: %w", name, err)
	}
	return nil
}

// dialWebsocket connects through what $http_proxy and $https_proxy name, if
// they do.
func dialWebsocket(ctx context.Context, d *tcpDialer, server *url.URL, config *tls.Config) (net.Conn, error) {
	var socket *limitedConn
	leave := func() bool { return true }
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		socket = &limitedConn{Conn: conn, left: maxUpgrade}
		leave = context.AfterFunc(ctx, func() { conn.Close() }) // the library looks at its deadline only
		return socket, nil
	}
	if config != nil {
		config = config.Clone()
		config.NextProtos = nil // what is asked for is HTTP
	}
	ws := websocket.Dialer{NetDialContext: dial, Proxy: http.ProxyFromEnvironment, TLSClientConfig: config,
		Subprotocols: []string{"mqtt"}}
	conn, answer, err := ws.DialContext(ctx, server.String(), nil)
	leave()
	switch {
	// closed by us
	case ctx.Err() != nil && (err == nil || errors.Is(err, net.ErrClosed) || errors.Is(ctx.Err(), context.Canceled)):
		if conn != nil {
			conn.Close()
		}
		return nil, ctx.Err()
	case err != nil && answer != nil:
		return nil, fmt.Errorf("%w: the server answers %s", err, answer.Status)
	case err != nil:
		return nil, err
	}
	socket.left = math.MaxInt64
	conn.SetReadLimit(1 << 20) // bytes of a message; MaxInbound bounds a packet
	return &websocketConn{Conn: conn}, nil
}

// A limitedConn reads so many bytes and no more: the header of an answer may have no
// end, and all of it is kept.
type limitedConn struct {
	net.Conn
	left int64
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server's answer is longer than %d bytes", maxUpgrade)
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// A websocketConn is a stream of bytes in binary messages. MQTT 3.1.1, section
// 6: a packet may begin and end anywhere in them.
type websocketConn struct {
	*websocket.Conn
	rest interface{ Read([]byte) (int, error) } // of the message that is being read
}

func (c *websocketConn) Write(p []byte) (int, error) {
	if err := c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *websocketConn) Read(p []byte) (int, error) {
	for {
		if c.rest != nil {
			if n, err := c.rest.Read(p); n > 0 || err == nil {
				return n, nil
			}
		}
		_, r, err := c.NextReader()
		if err != nil {
			return 0, closedInOrder(err)
		}
		c.rest = r
	}
}

func closedInOrder(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return fmt.Errorf("%w (%v)", ErrBrokerClosed, closed)
	}
	return err
}

func (c *websocketConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
