package uplink

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// Options say which broker to reach, and what to tell it.
type Options struct {
	mqtt.Broker
	Within    time.Duration // of attempts at a broker that closed or refused, see [DefaultWithin]; 0: that
	RetryMost time.Duration // bounds the wait between attempts while the network fails; 0: a minute
	NoProof   bool          // do not ask for proof that we may publish: the account may only write
	NoRetain  bool          // the broker keeps no messages: none is retained, the will neither
	Drain     Drain

	Topics  payload.Patterns
	Streams []sensors.Stream

	HomeAssistant HomeAssistant

	Report  func(sensors.Event) // takes what happened to the link
	Declare func(queue.Gap)     // takes readings that the broker acknowledged and that may not have arrived
	Stats   func() queue.Stats  // of the backlog, for the heartbeat; nil: there is none

	// AwaitNetwork leaves a token in back each time that a link, an address or a route
	// of this machine may have come back, until ctx is done; nil, or an error: that
	// cannot be told.
	AwaitNetwork func(ctx context.Context, back chan<- struct{}) error

	// Progress is called by the goroutine of Run as it makes progress, with the time
	// within which it calls again; nil: nobody watches.
	Progress func(within time.Duration)
	Changed  func() // is called by that goroutine after a connection or an attempt has begun or ended; nil: nobody asks

	// Problems are what a person should mend on this machine, one line each; nil: nobody
	// looks. It may be called from any goroutine, and returns at once.
	Problems func() []string

	Boot     string // of this start of the agent
	Version  string
	Hardware string // the board's own name

	acks ackLimits // zero: the usual ones
}

// A Drain says how fast the backlog may go out.
type Drain struct {
	Rate   int // routine readings a second; 0: as fast as the link takes them; or AutoRate
	Window int // messages in flight; 0 and DefaultWindow: up to 128 on a quick link, as far as the rate needs it
}

// ackLimits are how long a connection may last on which messages are not answered:
// a broker may answer pings and acknowledge nothing.
type ackLimits struct {
	acks  time.Duration // of anything that waits for an acknowledgement
	proof time.Duration // of our own canary
}

// ackBounds are the limits that hold. A link on which nothing is acknowledged
// is given up as soon as one that is dead.
func (o Options) ackBounds() ackLimits {
	if o.acks != (ackLimits{}) {
		return o.acks
	}
	return ackLimits{acks: min(30*time.Second, o.Silence()), proof: 15 * time.Second}
}

// topicNames are the topics of the agent and its streams.
func (o Options) topicNames() payload.Topics {
	names := make([]string, len(o.Streams))
	for i, s := range o.Streams {
		names[i] = s.Name
	}
	return payload.NewTopics(o.ClientID, o.Topics, names)
}
