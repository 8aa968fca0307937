package uplink

import (
	"net/url"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// Options say which broker to reach and as whom.
type Options struct {
	ClientID  string
	Servers   []*url.URL // in order of preference: mqtt, mqtts, ws or wss
	Username  string     // empty: the client ID, where there is a password
	Password  Secret
	TLS       TLS
	KeepAlive time.Duration
	RetryMost time.Duration // bounds the wait between attempts while the network fails; 0: a minute
	Bind      string        // an interface or an address of ours; empty: as the routes say
	NoProof   bool          // do not ask for proof that we may publish: the account may only write
	NoRetain  bool          // the broker keeps no messages: none is retained, the will neither
	Drain     Drain

	Topics  payload.Patterns
	Streams []sensors.Stream

	HomeAssistant HomeAssistant

	Report  func(sensors.Event) // takes what happened to the link
	Declare func(queue.Gap)     // takes readings that the broker acknowledged and that may not have arrived
	Stats   func() queue.Stats  // of the backlog, for the heartbeat; nil: there is none

	Clock    *clock.Timekeeper // nil: one that asks the kernel
	Boot     string            // of this start of the agent
	Version  string
	Hardware string // the board's own name

	limits  limits // zero: the usual ones
	segment int    // bytes of a TCP segment; 0: as the kernel says
}

// A Drain says how fast the backlog may go out.
type Drain struct {
	Rate   int // routine readings a second; 0: as fast as the link takes them; or AutoRate
	Window int // messages in flight; 0: DefaultWindow
}

// limits bound what a broker may let us wait for.
type limits struct {
	connect time.Duration // a connection, and the answer to CONNECT
	write   time.Duration // until the kernel takes what we send
	silence time.Duration // without one byte from the broker
	ping    time.Duration // the answer to a ping
	ack     time.Duration // acknowledgements: a broker may answer pings and acknowledge nothing
	proof   time.Duration // our own canary
}

// bounds are the limits. A link that is dead is found in 30 s if the
// keepalive is 15 s, else in the keepalive and 15 s: a ping is sent at most 5 s
// after the keepalive.
func (o Options) bounds() limits {
	if o.limits != (limits{}) {
		return o.limits
	}
	dead := o.KeepAlive + 13*time.Second
	return limits{connect: 15 * time.Second, write: 10 * time.Second, silence: dead, ping: 10 * time.Second,
		ack: min(30*time.Second, dead), proof: 15 * time.Second}
}

// topicNames are the topics of the agent and its streams.
func (o Options) topicNames() payload.Topics {
	names := make([]string, len(o.Streams))
	for i, s := range o.Streams {
		names[i] = s.Name
	}
	return payload.NewTopics(o.ClientID, o.Topics, names)
}
