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

// Socket options that package syscall does not have: tcp(7) and <linux/tcp.h>.
const (
	tcpUserTimeout  = 18 // TCP_USER_TIMEOUT, in milliseconds
	tcpNotSentLowat = 25 // TCP_NOTSENT_LOWAT, in bytes
)

const (
	// maxUserTimeout is how long the kernel may wait for the acknowledgement of what it
	// has sent, before it gives the connection up. Its own default is 15 minutes or so.
	maxUserTimeout = 20 * time.Second
	// maxNotSent is how many bytes the kernel may hold that are not sent yet: an alarm
	// waits behind them.
	maxNotSent = 16 << 10
	// maxUpgrade bounds the bytes that are read until a WebSocket is open, with the TLS
	// handshake and the answers of a proxy.
	maxUpgrade = 256 << 10
)

// openSocket connects to a server with the layers of its scheme; config is not nil
// for mqtts and wss. It returns after limits.Connect at the latest. The caller owns
// the connection: paho only closes one after DISCONNECT, which makes the broker
// forget the will, so a connection that is dropped has to be closed below it.
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

// dialScheme connects with the layers of the server's scheme.
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

// control returns a function that sets the options of a socket before it connects,
// for [net.Dialer].Control: how long the kernel keeps sending to a host that does
// not acknowledge, how many unsent bytes it holds, the size of segments (0: the
// kernel's choice), and the interface.
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

// bindTo binds a socket to an interface: socket(7), SO_BINDTODEVICE. It does nothing
// for an empty name and for an address, which net.Dialer.LocalAddr is for.
func bindTo(fd int, name string) error {
	if _, err := netip.ParseAddr(name); name == "" || err == nil {
		return nil
	}
	if err := syscall.BindToDevice(fd, name); err != nil {
		return fmt.Errorf("mqtt.bind: interface %s: %w", name, err)
	}
	return nil
}

// dialWebsocket opens a WebSocket with the subprotocol mqtt (MQTT 3.1.1, section 6),
// through the proxy that $http_proxy or $https_proxy names, if they are set.
func dialWebsocket(ctx context.Context, d *tcpDialer, server *url.URL, config *tls.Config) (net.Conn, error) {
	var socket *limitedConn
	stop := func() bool { return true } // no longer closes the socket when ctx is done
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		socket = &limitedConn{Conn: conn, left: maxUpgrade}
		stop = context.AfterFunc(ctx, func() { conn.Close() }) // the library regards only the deadline of ctx
		return socket, nil
	}
	if config != nil {
		config = config.Clone()
		config.NextProtos = nil // the ALPN protocol here is HTTP/1.1, not mqtt.tls.alpn
	}
	ws := websocket.Dialer{NetDialContext: dial, Proxy: http.ProxyFromEnvironment, TLSClientConfig: config,
		Subprotocols: []string{"mqtt"}}
	conn, answer, err := ws.DialContext(ctx, server.String(), nil)
	stop()
	switch {
	// The socket was closed because ctx is done.
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
	conn.SetReadLimit(1 << 20) // bytes of a message, which may have several packets
	return &websocketConn{Conn: conn}, nil
}

// A limitedConn fails after a number of bytes was read: the HTTP header of an answer
// may have no end, and net/http keeps all of it in memory. left is set to the
// maximum once the WebSocket is open.
type limitedConn struct {
	net.Conn
	left int64 // used by the reading goroutine
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server's answer is longer than %d bytes", maxUpgrade)
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// A websocketConn is a net.Conn that carries a stream of bytes in binary messages. A
// packet may begin and end anywhere in them: MQTT 3.1.1, section 6. One goroutine
// may read and one write at the same time.
type websocketConn struct {
	*websocket.Conn
	rest interface{ Read([]byte) (int, error) } // of the message that is being read; nil before the first
}

// Write sends p as one message.
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

// closedInOrder makes a close frame an [ErrBrokerClosed], as the end of a TCP
// connection is.
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
