// Package mqtt connects to a broker by MQTT 3.1.1, over TCP, TLS or WebSocket. It is
// the only package that knows the MQTT library, and it looks at every packet before
// the library does: what a broker must not send ends the connection with an error
// that says so.
//
// A [Dialer] belongs to one goroutine. A [Conn] may be used by any: it reports what
// the broker says by channels.
package mqtt

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A Broker says which broker to reach and as whom. It is a value: it may be copied,
// and nobody changes it once a [Dialer] has it.
type Broker struct {
	ClientID  string
	Servers   []*url.URL // in order of preference: mqtt, mqtts, ws or wss
	Username  string     // empty: the client ID, where there is a password
	Password  Secret
	TLS       TLS
	KeepAlive time.Duration
	Bind      string            // an interface or an address of ours; empty: as the routes say
	Clock     *clock.Timekeeper // tells whether a certificate or our clock is wrong; nil: one that asks the kernel
	Limits    Limits            // zero: the usual ones

	// Network makes the connection under TLS, WebSocket and MQTT; nil: a TCP socket
	// with our options. Tests set it to run in memory.
	Network func(ctx context.Context, address string) (net.Conn, error)

	segment int // bytes of a TCP segment; 0: as the kernel says
}

// Limits bound what a broker may let us wait for.
type Limits struct {
	Connect time.Duration // a connection, and the answer to CONNECT
	Write   time.Duration // until the kernel takes what we send
	Silence time.Duration // without one byte from the broker
	Ping    time.Duration // the answer to a ping
}

// limits are the bounds of this broker.
func (b Broker) limits() Limits {
	if b.Limits != (Limits{}) {
		return b.Limits
	}
	return Limits{Connect: 15 * time.Second, Write: 10 * time.Second, Silence: b.Silence(), Ping: 10 * time.Second}
}

// Silence is how long a broker may say nothing until the link counts as dead: 28 s
// if the keepalive is 15 s. A ping is sent at most 5 s after the keepalive.
func (b Broker) Silence() time.Duration { return b.KeepAlive + 13*time.Second }
