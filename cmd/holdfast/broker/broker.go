// Package broker runs an MQTT broker inside the agent, for `server: embedded` and the demo.
// It keeps everything only in memory.
//
// It shares the memory and the file descriptors of the agent, and everybody who reaches its
// port can use them up. So everything that it keeps for clients is limited: see [limits].
package broker

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// limits limit what clients can use. The library has no limit for most of it.
type limits struct {
	connect  time.Duration // from the connection to an accepted CONNECT
	write    time.Duration // for one write: a client that does not read is disconnected
	pending  int           // connections without an accepted CONNECT; beyond that the oldest is closed
	clients  int           // connections with an accepted CONNECT
	sessions int           // connected or not; beyond that the one that disconnected first is deleted
	waiting  int           // bytes queued or stored for one client
	total    int           // the same for all clients
	retained int           // bytes of retained messages with their topics
	topics   int           // retained messages, and messages queued for one client
	filters  int           // subscriptions of one client
}

// defaultLimits suit a house with some dozens of clients on a board with 512 MiB: what is
// stored for clients and what is retained use 40 MiB together at most.
var defaultLimits = limits{
	connect: 10 * time.Second, write: 10 * time.Second,
	pending: 32, clients: 64, sessions: 128,
	waiting: 16 << 20, total: 32 << 20, retained: 8 << 20, topics: 4096, filters: 128,
}

const (
	maxPacket  = 1 << 20                 // bytes; the largest announcement to Home Assistant fits
	maxConnect = 16 << 10                // bytes of a CONNECT; small, because the client is not authenticated yet
	maxTopic   = 1024                    // bytes; the configuration has the same limit
	maxLevels  = 32                      // of a topic; each level is a node in the library's tree
	keepFor    = 10 * 365 * 24 * 60 * 60 // seconds; the library drops retained messages after a day
	sessionFor = 60 * 60                 // seconds that the session of a disconnected client is kept
	sysEvery   = 60                      // seconds between two messages about the broker itself
)

// A Broker serves MQTT on one address. Its methods may be called from any goroutine.
type Broker struct {
	server *mochi.Server
	addr   net.Addr
	budget *budget
}

// Listen starts a broker on a TCP address, host:port; port 0 chooses a free one. Every
// client needs the password, with any user name; an empty password accepts every client.
// The caller has to call Close.
func Listen(addr, password string, log *slog.Logger) (*Broker, error) {
	return listen(addr, password, defaultLimits, log)
}

// listen is Listen with the limits as a parameter, for tests. Its goroutines end with
// Close.
func listen(addr, password string, lim limits, log *slog.Logger) (*Broker, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w: set another mqtt.embedded.listen", err)
	}
	log = slog.New(newOnce(log.Handler()))
	server := mochi.New(&mochi.Options{InlineClient: true, Capabilities: capabilities(lim), Logger: log,
		SysTopicResendInterval: sysEvery})
	b := &Broker{server, l.Addr(), newBudget(server, lim, log)}
	for _, hook := range []mochi.Hook{&authHook{password: password}, b.budget} {
		if err := server.AddHook(hook, nil); err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
	}
	if err := server.AddListener(newGate(l, lim, log)); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	return b, nil
}

// capabilities are the limits that the library enforces. budget and gate enforce the rest.
func capabilities(lim limits) *mochi.Capabilities {
	caps := mochi.NewDefaultServerCapabilities()
	caps.MaximumPacketSize = maxPacket
	caps.MaximumMessageExpiryInterval = keepFor
	caps.MaximumSessionExpiryInterval = sessionFor
	caps.MaximumClients = int64(lim.clients)
	caps.MaximumClientWritesPending = int32(lim.topics)
	caps.MaximumInflight = uint16(lim.topics)
	caps.TopicAliasMaximum = 0 // each alias would store a topic for the client
	return caps
}

// Addr is where the broker listens.
func (b *Broker) Addr() net.Addr { return b.addr }

// A Message is what a subscriber gets.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // it was retained before the subscription
}

// Subscribe calls f for each message that matches the filter, until Close. f is called from
// several goroutines and must not keep the payload.
func (b *Broker) Subscribe(filter string, f func(Message)) error {
	return b.server.Subscribe(filter, 1, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		f(Message{p.TopicName, p.Payload, p.FixedHeader.Retain})
	})
}

// Close ends every connection and returns when their goroutines have ended. Sessions and
// retained messages are lost.
func (b *Broker) Close() error { return b.server.Close() }
