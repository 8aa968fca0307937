// Package rules decides, from readings alone, what outputs do: a flood opens a valve, a
// door that is opened sounds a siren.
//
// A rule looks at streams of two values and their words. There is no expression language,
// no schedule and no toggle: a machine in a cellar has no clock that could be trusted, and
// what nobody can test in their head does not belong to an alarm.
package rules

import (
	"slices"
	"time"
)

// A Rule is one rule as configured.
type Rule struct {
	Name       string
	Any        []Condition   // one of them has to be met; or
	All        []Condition   // all of them have to be met
	For        time.Duration // without a break; 0: at once
	Armed      []string      // when it looks, as Looks has it; empty: the panel does not concern it
	FaultTrips bool          // a stream that fails counts as met; else as not met
	Then       []Action
}

// Always is the word for a rule that makes the panel triggered whatever it is, such as one
// about tampering.
const Always = "always"

// Looks are the words that Armed may have: modes of package arming, Always alone, or
// "disarmed" alone. A rule for one of the first two makes the panel pending or triggered.
var Looks = []string{"away", "home", Always, "disarmed"}

// Trips reports whether the rule makes the panel pending or triggered.
func (r Rule) Trips() bool { return len(r.Armed) > 0 && !slices.Contains(r.Armed, "disarmed") }

// Conditions are all of Any or All.
func (r Rule) Conditions() []Condition { return slices.Concat(r.Any, r.All) }

// By is the cause that the orders of the rule have.
func (r Rule) By() string { return "rule:" + r.Name }

// A Condition is met while the latest reading of a stream has the word.
type Condition struct {
	Stream string
	Is     string
}

// An Action is an order to an output.
type Action struct {
	Output string
	On     bool
	For    time.Duration // 0: until MaxOn of the output
	Safe   bool          // the safe level of the output: disarming brings it back there
}
