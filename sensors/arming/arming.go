// Package arming is the state of an alarm panel: disarmed, armed or triggered.
//
// It knows streams and their words, times and codes. It knows no MQTT and no hardware: a
// rule that is armed asks it (package rules), and each change of its state is a reading
// of the stream "alarm".
//
// It is not a certified alarm panel (EN 50131), and cannot replace one.
package arming

import (
	"slices"
	"time"
)

// StreamName is the stream of the state, where there is an arming block.
const StreamName = "alarm"

// States are the states of the stream, by value. The words are Home Assistant's.
var States = []string{"disarmed", "arming", "armed_home", "armed_away", "pending", "triggered"}

// The states, as the code compares them.
const (
	Disarmed  = "disarmed"
	Arming    = "arming"
	Pending   = "pending"
	Triggered = "triggered"
	armed     = "armed_" // and a mode behind it
)

// Modes are the ways to be armed, as the configuration has them.
var Modes = []string{"away", "home"}

// Value is the value of a state in the stream.
func Value(state string) float64 { return float64(slices.Index(States, state)) }

// Options are the arming block.
type Options struct {
	Modes  []string      // ways to be armed; the first is that of the key switch and of a damaged state file
	Exit   time.Duration // from an order to armed
	Siren  time.Duration // in the state triggered; then armed again, if Rearm
	Rearm  bool          // false: triggered until somebody disarms
	Entry  map[string]time.Duration
	Follow []string // streams on the way to the keypad: see Panel.Trip
	Ready  []string // streams that have to have value 0 when somebody arms
	Zones  []string // streams that an order may bypass: Ready, and those of rules that are armed
	Key    string   // the stream of a key switch: to value 1 arms, to 0 disarms; empty: none

	CodesFile string // of hashed codes; empty: no code is asked for
	CodeToArm bool   // a code is needed to arm, too
	Commands  bool   // it takes orders by MQTT
}

// An Order asks for another state.
type Order struct {
	To   string // "disarmed", "armed_home" or "armed_away"
	Code string // as it was entered; never logged or published. Empty: none was
	// Bypass are the streams to leave out although they are open, until it is disarmed.
	Bypass []string
	By     string // the cause, as the reading has it: "order:a1", "key"

	// Answer is told once what became of the order. It is called from any goroutine and
	// must not block; nil: nobody waits.
	Answer func(Answer)
}

// An Answer says what became of an order.
type Answer struct {
	Done bool
	Why  string // it was refused: "code", "locked", "open: front_door"; empty: it was done
}

// A Status is the panel as it is now.
type Status struct {
	State  string    // one of States
	By     string    // the cause of the last change
	Since  time.Time // of the last change
	Until  time.Time // when it changes by itself; zero: never
	Open   []string  // streams that keep it from being armed
	Bypass []string  // streams that are left out
	Locked time.Time // until then no code is accepted; zero: it is
}
