// Package rules decides, from readings alone, what outputs do: a flood opens a valve, a
// door that is opened sounds a siren.
//
// A rule looks at streams of two values and their words. There is no expression language,
// no schedule and no toggle: a machine in a cellar has no clock that could be trusted, and
// what nobody can test in their head does not belong to an alarm.
package rules

import "time"

// A Rule is one rule as configured.
type Rule struct {
	Name       string
	Any        []Condition   // one of them has to be met; or
	All        []Condition   // all of them have to be met
	For        time.Duration // without a break; 0: at once
	Armed      []string      // states of package arming in which it looks, without "armed_"; empty: always
	FaultTrips bool          // a stream that fails counts as met; else as not met
	Then       []Action
}

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
}
