package uplink

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// Options configure a link: values from the configuration, and functions that connect it to
// the rest of the agent. They have more than 15 fields because each is set in one place,
// serve.go of cmd/holdfast, and read in one or two here; groups of them would have no other
// use. They must not change after [New]. Package config has checked them.
//
// The functions are called by the goroutine of Run, must not block, and may be nil
// unless their comment says otherwise.
type Options struct {
	mqtt.Broker
	Within     time.Duration // in which nine of ten agents are back at a broker that refused; 0: [DefaultWithin]
	MaxRetry   time.Duration // the longest wait between attempts while the network fails; 0: a minute
	NoProof    bool          // the account may not subscribe: acknowledgements count as delivery
	Properties bool          // readings carry boot, seq and historical as user properties, with MQTT 5
	NoRetain   bool          // the broker refuses retained messages: nothing is retained, nor the will
	Health     time.Duration // between two messages on agent/health; 0: [DefaultHealth]
	Drain      Drain

	Title   string // what people call the node, in any script; empty: they call it by its client ID
	Area    string // where it is; empty: not said
	Topics  payload.Patterns
	Formats payload.Formats
	Streams []sensors.Stream

	HomeAssistant HomeAssistant
	Commands      Commands

	Report  func(sensors.Event) // receives what happened to the link, as an event for the history
	Declare func(queue.Gap)     // receives readings that were acknowledged and may not have arrived
	Stats   func() queue.Stats  // returns the state of the backlog, for the heartbeat

	// AwaitNetwork puts a token into back each time that a link, an address or a route
	// of this machine may have come back. It runs in a goroutine of its own, and blocks
	// until ctx is done. nil, or an error: attempts come at their own pace alone.
	AwaitNetwork func(ctx context.Context, back chan<- struct{}) error

	// Progress is called with the time within which it is called again, or with 0 at the
	// end of Run, so that a watchdog can notice that Run hangs.
	Progress func(within time.Duration)
	// Changed is called after a connection or an attempt has begun or ended: the result
	// of [Link.Status] is another.
	Changed func()

	// Problems returns what a person should mend on this machine, one line each. It may
	// be called from any goroutine.
	Problems func() []string

	Boot     string // the ID of this start of the agent, as in payloads
	Version  string // of the agent, for agent/info and Home Assistant
	Hardware string // the board's own name; empty: unknown
	Serial   string // the board's serial number, which Home Assistant alone is told; empty: unknown

	acks ackLimits // zero: the default limits; tests shorten them
}

// A Drain limits how fast the backlog is sent.
type Drain struct {
	Rate   int // routine readings a second; 0: as fast as the link takes them; or AutoRate
	Window int // messages in flight; 0 and DefaultWindow: up to 128 on a quick link, as far as the rate needs it
}

// ackLimits are how long a connection may last on which nothing is acknowledged: a
// broker may answer pings and acknowledge nothing.
type ackLimits struct {
	acks  time.Duration // for the oldest message in flight
	proof time.Duration // for the canary to come back, see canary
}

// ackBounds returns the limits in force. A connection without acknowledgements is closed
// after the same time as one on which nothing is received.
func (o Options) ackBounds() ackLimits {
	if o.acks != (ackLimits{}) {
		return o.acks
	}
	return ackLimits{acks: min(30*time.Second, o.Silence()), proof: 15 * time.Second}
}

// topicNames returns the topics of the agent and its streams.
func (o Options) topicNames() payload.Topics {
	names := make([]string, len(o.Streams))
	for i, s := range o.Streams {
		names[i] = s.Name
	}
	return payload.NewTopics(o.ClientID, o.Topics, names)
}
