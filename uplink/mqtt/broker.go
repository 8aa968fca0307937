// Package mqtt connects to a broker by MQTT 3.1.1 or 5, over TCP, TLS or WebSocket. Only
// it and its package mqtt5 import libraries of MQTT, and both check every packet before
// a library does: what a broker must not send ends the connection with a
// [ProtocolError]. Its errors are for a person: they name the configuration key to
// change.
//
// A wire has the socket, and writes PUBLISH and reads PUBACK by itself; a protocol above
// it speaks one version: client311 with paho.mqtt.golang, client5 with the packets of
// paho.golang. What is for version 5 alone is in the files whose names end in 5.
//
// # Concurrency
//
// Only one goroutine at a time may use a [Dialer]. A [Conn] and [Echoes] may be
// used by any goroutine; a Conn reports messages and its end by channels. A
// [Broker] is a value, and its methods may be called from any goroutine.
package mqtt

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A Broker says which broker to connect to, and with which account. It is a value:
// it may be copied, and nobody changes what it points to once a [Dialer] has it.
// Package config has checked its fields; [Broker.Check] checks the files.
type Broker struct {
	ClientID  string     // of CONNECT; the broker keeps one connection for each
	Servers   []*url.URL // at least one, in order of preference; the scheme is mqtt, mqtts, ws or wss
	Username  string     // empty: the client ID if there is a password, else none
	Password  Secret
	TLS       TLS               // for mqtts and wss
	KeepAlive time.Duration     // of CONNECT: MQTT 3.1.1, section 3.1.2.10; whole seconds
	Bind      string            // an interface or an address of this machine; empty: as the routing table has it
	Clock     *clock.Timekeeper // tells a wrong clock from an expired certificate; nil: a new one
	Limits    Limits            // zero: the default limits
	Protocol  Version           // of MQTT
	WillDelay time.Duration     // from the loss of a connection to its will, with MQTT 5; whole seconds

	// Network makes the connection below TLS, WebSocket and MQTT; nil: a TCP socket
	// with the options of control. Tests set it to run in memory.
	Network func(ctx context.Context, address string) (net.Conn, error)

	// These are set for each connection: CONNECT has no clean start (see Dialer); what gets
	// the server that the broker refers to (nil: nothing); and the bytes of a TCP segment
	// (0: as the kernel chooses).
	resume   bool
	referred *referral
	segment  int
}

// Limits bound how long a connection waits for the broker. Either none is set, or
// all are.
type Limits struct {
	Connect time.Duration // for a socket with TLS and WebSocket, and again for the answer to CONNECT
	Write   time.Duration // until the kernel accepts the next maxPiece bytes
	Silence time.Duration // without one byte from the broker
}

// limits returns the limits in force. The default ones end a dead connection
// within half a minute at the usual keepalive.
func (b Broker) limits() Limits {
	if b.Limits != (Limits{}) {
		return b.Limits
	}
	return Limits{Connect: 15 * time.Second, Write: 10 * time.Second, Silence: b.Silence()}
}

// user returns the user name that is sent with the password.
func (b Broker) user(password string) string {
	if b.Username == "" && password != "" {
		return b.ClientID
	}
	return b.Username
}

// Silence is how long a broker may send nothing until the connection counts as
// lost: 28 s if the keepalive is 15 s. A PINGREQ is sent each keepalive; the rest is
// for the answer.
func (b Broker) Silence() time.Duration { return b.KeepAlive + 13*time.Second }
