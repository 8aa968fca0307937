// Package broker runs an MQTT broker inside the agent, for `server: embedded`
// and the demo. What it acknowledged lives in memory only.
package broker

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	maxPacket = 1 << 20                 // bytes; the library has no bound of its own
	keepFor   = 10 * 365 * 24 * 60 * 60 // seconds; the library drops retained messages after a day
)

// A Broker serves MQTT on one address.
type Broker struct {
	server *mochi.Server
	addr   net.Addr
}

// Listen starts a broker on a TCP address. Every client needs the password,
// under any user name; an empty one lets everybody in.
func Listen(addr, password string, log *slog.Logger) (*Broker, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	caps := mochi.NewDefaultServerCapabilities()
	caps.MaximumPacketSize = maxPacket
	caps.MaximumMessageExpiryInterval = keepFor
	server := mochi.New(&mochi.Options{InlineClient: true, Capabilities: caps, Logger: log})
	if err := server.AddHook(&door{password: password}, nil); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	if err := server.AddListener(listeners.NewNet("tcp", l)); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return &Broker{server, l.Addr()}, nil
}

// Addr is where the broker listens.
func (b *Broker) Addr() net.Addr { return b.addr }

// A Message is what a subscriber gets.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // kept from before the subscription
}

// Subscribe calls f for each message that matches the filter, until Close.
// f is called from several goroutines and must not keep the payload.
func (b *Broker) Subscribe(filter string, f func(Message)) error {
	return b.server.Subscribe(filter, 1, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		f(Message{p.TopicName, p.Payload, p.FixedHeader.Retain})
	})
}

// Close ends every connection.
func (b *Broker) Close() error { return b.server.Close() }

// door lets clients in.
type door struct {
	mochi.HookBase
	password string
}

func (d *door) ID() string { return "password" }

func (d *door) Provides(hook byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck}, []byte{hook})
}

func (d *door) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return d.password == "" || subtle.ConstantTimeCompare(p.Connect.Password, []byte(d.password)) == 1
}

func (d *door) OnACLCheck(*mochi.Client, string, bool) bool { return true }
