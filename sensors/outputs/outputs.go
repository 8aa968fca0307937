// Package outputs switches sirens, relays, valves and locks.
//
// An output is a promise to be off, or at its safe level: at the start, at the end, when
// its time is over, and when it is not known what it does. An [Order] may switch it on for
// a time, within bounds that no order can exceed.
//
// An output knows no file, no network and no MQTT. Each of its changes is a reading of a
// stream of its own, so the history and the state of an output go the same way as those
// of a sensor.
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
	Safe      bool           // the level that is safe: false, or true for a lock that fails secure
	MaxOn     time.Duration  // the longest time away from Safe, over all orders, by the monotonic clock; 0: no limit
	Rest      time.Duration  // back at Safe after MaxOn, for so long no order is done; 0: none
	Pulse     time.Duration  // how long each order lasts, whatever it says; 0: as it says
	Interlock []string       // outputs of which none may be on while this one is
	Confirm   *Confirm       // nil: none
	LinkLost  *LinkLost      // nil: orders go on until MaxOn
	Commands  bool           // it takes orders by MQTT
	Line      any            // the line's own options; [Open] understands them
}

// A Confirm is a stream that says what the output really does, such as an auxiliary
// contact of a relay.
type Confirm struct {
	Stream string        // of two values
	Is     string        // its word while the output is on
	Within time.Duration // of a change of the output
}

// A LinkLost says what to do when the link is down for long while an order that came by
// MQTT is in force. Rules go on: they need no link.
type LinkLost struct {
	After time.Duration
	Then  bool // the level to go to
}

// An Order asks an output to change. Each is idempotent: none says "toggle".
type Order struct {
	Output string
	On     bool
	For    time.Duration // back to Safe after that; 0: until the next order, or MaxOn
	By     string        // the cause, as the reading has it: "rule:flood", "order:a1", "arming"
	Remote bool          // it came by MQTT, so LinkLost concerns it

	// Answer is told once what became of the order. It is called from any goroutine and
	// must not block; nil: nobody waits.
	Answer func(Answer)
}

// An Answer says what became of an order.
type Answer struct {
	Done bool
	Why  string // it was refused: "rest", "interlock: gate_close is on", "unknown output"; empty: it was done
}

// A Line is the hardware behind an output. It is for one goroutine at a time.
type Line interface {
	// Set makes the output on or off; what level that is, the line knows.
	Set(ctx context.Context, on bool) error
	// Get reads back what the hardware does. ErrNoReadBack: it cannot be read.
	Get(ctx context.Context) (on bool, err error)
	// Close gives the line back to the kernel and leaves its level alone.
	io.Closer
}

// Open opens the line of an output, with its safe level from the first moment. It and the
// methods of a Line may hang: a [Set] leaves such a call behind.
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
	RestUntil time.Time // no order is done before; zero: it does not rest
	Commands  bool      // it takes orders by MQTT
}
