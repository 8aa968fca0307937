// Package arming is the state of an alarm panel: disarmed, armed or triggered.
//
// It knows streams and their states, times and codes, but no MQTT and no hardware. Rules for
// an armed mode (package rules) trigger it, and each change of its state is a reading of the
// stream "alarm".
//
// It is not a certified alarm panel (EN 50131), and cannot replace one.
package arming

import (
	"slices"
	"time"
)

// StreamName is the name of the panel's stream; it exists if the file has an arming block.
const StreamName = "alarm"

// States are the states of the stream, in the order of their values. The words are those of
// Home Assistant.
var States = []string{"disarmed", "arming", "armed_home", "armed_away", "pending", "triggered"}

// The states, as the code compares them.
const (
	Disarmed  = "disarmed"
	Arming    = "arming"
	Pending   = "pending"
	Triggered = "triggered"
	armed     = "armed_" // the prefix of a mode
)

// Modes are the armed modes, as written in the configuration.
var Modes = []string{"away", "home"}

// Value returns the value of a state in the stream.
func Value(state string) float64 { return float64(slices.Index(States, state)) }

// Options are the arming block.
type Options struct {
	Modes  []string                 // armed modes; the key switch and a damaged state file use the first one
	Exit   time.Duration            // the exit delay: from the order until the panel is armed
	Siren  time.Duration            // how long it stays triggered before it is armed again, if Rearm
	Rearm  bool                     // false: it stays triggered until somebody disarms it
	Entry  map[string]time.Duration // the entry delay, by stream
	Follow []string                 // streams on the way to the keypad: see Panel.Trip
	Ready  []string                 // streams whose value has to be 0 when somebody arms
	Zones  []string                 // streams that an order may bypass: Ready, and those of rules for a mode
	Key    string                   // the stream of a key switch: a change to 1 arms, to 0 disarms; empty: none

	CodesFile string // the path of the hashed codes; empty: no code is needed
	CodeToArm bool   // a code is needed to arm, too
	Commands  bool   // it takes orders by MQTT
}

// An Order asks for another state.
type Order struct {
	To   string // "disarmed", "armed_home" or "armed_away"
	Code string // as it was entered; never logged or published; empty: none was entered
	// Bypass are streams that may be open, and that rules ignore until the panel is disarmed.
	Bypass []string
	By     string // the cause, for Reading.By: "order:a1", "key"

	// Answer is called once with the result of the order, on any goroutine. It must not
	// block; nil: nobody needs the result.
	Answer func(Answer)
}

// An Answer is the result of an order.
type Answer struct {
	Done bool
	Why  string // why it was refused: "code", "locked", "open: front_door"; empty: it was done
}

// A Status is the panel as it is now.
type Status struct {
	State  string    // one of States
	By     string    // the cause of the last change
	Since  time.Time // of the last change
	Until  time.Time // when it changes by itself; zero: never
	Open   []string  // streams that prevent arming
	Bypass []string  // streams that are bypassed
	Locked time.Time // until when no code is accepted; zero: codes are accepted
}
