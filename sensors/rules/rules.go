// Package rules switches outputs because of readings: a flood closes a valve, an opened door
// sounds a siren.
//
// The conditions of a rule compare the states of streams with words. There is no expression
// language, no schedule and no toggle: the clock of a machine in a cellar cannot be trusted,
// and a person has to be able to predict what an alarm does.
package rules

import (
	"slices"
	"time"
)

// A Rule is one rule as configured.
type Rule struct {
	Name       string
	Any        []Condition   // one of them has to be met; All is then empty
	All        []Condition   // all of them have to be met; Any is then empty
	For        time.Duration // how long without a break; 0: the rule fires at once
	Armed      []string      // when the rule is active, see ArmedWords; empty: always, without the panel
	FaultTrips bool          // a condition on a failed stream counts as met; false: as not met
	Then       []Action
}

// Always in Armed makes a rule trigger the panel in every state, such as a rule about
// tampering.
const Always = "always"

// ArmedWords are the words for Armed: modes of package arming, or Always alone, or "disarmed"
// alone. A rule for a mode or for Always makes the panel pending or triggered.
var ArmedWords = []string{"away", "home", Always, "disarmed"}

// Trips reports whether the rule makes the panel pending or triggered.
func (r Rule) Trips() bool { return len(r.Armed) > 0 && !slices.Contains(r.Armed, "disarmed") }

// Conditions returns the conditions of the rule: Any or All.
func (r Rule) Conditions() []Condition { return slices.Concat(r.Any, r.All) }

// By returns the cause of the rule's orders: see outputs.Order.
func (r Rule) By() string { return "rule:" + r.Name }

// A Condition is met while the state of the stream's latest reading is Is.
type Condition struct {
	Stream string
	Is     string
}

// An Action is an order to an output.
type Action struct {
	Output string
	On     bool
	For    time.Duration // 0: until another order, or MaxOn of the output
	Safe   bool          // the safe level of the output: disarming sets it again
}
