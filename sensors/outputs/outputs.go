// Package outputs switches sirens, relays, valves and locks.
//
// An output is at its safe level, which is off for most, unless an [Order] is in force. It
// returns there at the start and at the end of the agent, when the time of the order is
// over, and after a fault. An order may switch it on for a time, within limits that no order
// can exceed.
//
// The package knows no file, no network and no MQTT. Each change of an output is a reading
// of a stream, so the history and the state of an output are stored and published like
// those of a sensor.
package outputs

import (
	"context"
	"io"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Spec is one output as configured.
type Spec struct {
	Stream    sensors.Stream // of its changes, with its name: priority alarm, states off and on
	Safe      bool           // the safe level: false for off, true for a lock that fails secure
	MaxOn     time.Duration  // the longest time away from Safe, over all orders, by the monotonic clock; 0: no limit
	Rest      time.Duration  // after MaxOn has ended the orders, new ones are refused for so long; 0: not at all
	Pulse     time.Duration  // how long each order lasts, instead of Order.For; 0: Order.For counts
	Interlock []string       // names of outputs that must not be on while this one is on
	Confirm   *Confirm       // nil: none
	LinkLost  *LinkLost      // nil: orders stay in force when the link is lost
	Commands  bool           // it takes orders by MQTT
	Line      any            // options of the line; only [Open] knows the type
}

// A Confirm is a stream that says what the output really does, such as an auxiliary
// contact of a relay.
type Confirm struct {
	Stream string        // of two values
	Is     string        // its word while the output is on
	Within time.Duration // of a change of the output
}

// A LinkLost says what to do when the link is down while an order that came by MQTT is in
// force. Orders of rules stay in force: rules need no link.
type LinkLost struct {
	After time.Duration // how long the link has to be down
	Then  bool          // the level to go to
}

// An Order asks an output to change. Each is idempotent: none says "toggle".
type Order struct {
	Output string
	On     bool
	For    time.Duration // back to Safe after that; 0: until the next order, or MaxOn
	By     string        // the cause, for Reading.By: "rule:flood", "order:a1", "arming"
	Remote bool          // it came by MQTT, so LinkLost applies to it

	// Answer is called once with the result of the order, on any goroutine. It must not
	// block; nil: nobody needs the result.
	Answer func(Answer)
}

// An Answer is the result of an order.
type Answer struct {
	Done bool
	Why  string // why it was refused: "rest", "interlock: gate_close is on", "unknown output"; empty: it was done
}

// A Line is the hardware of an output. Only one goroutine at a time may use it.
type Line interface {
	// Set switches the output on or off. Only the line knows whether on is a high or a low
	// level.
	Set(ctx context.Context, on bool) error
	// Get reads back whether the hardware is on. It returns ErrNoReadBack if the hardware
	// cannot be read.
	Get(ctx context.Context) (on bool, err error)
	// Close gives the line back to the kernel and does not change its level.
	io.Closer
}

// Open opens the line of an output; the line has its safe level from the first moment. Open
// and the methods of a Line may hang: a [Set] abandons such a call.
type Open func(context.Context, Spec) (Line, error)

// A Status is an output as it is now.
type Status struct {
	Name      string
	Class     string
	On        bool
	Err       string    // why it is not known whether it is on; empty: it is known
	By        string    // the cause of the last change; empty: the start
	Since     time.Time // of the last change, with a monotonic part; zero: none since the start
	Until     time.Time // when it goes back to its safe level by itself; zero: never
	RestUntil time.Time // orders are refused until then; zero: it does not rest
	Commands  bool      // it takes orders by MQTT
}
