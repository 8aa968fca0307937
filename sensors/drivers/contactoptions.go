package drivers

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/debounce"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
)

// contactCommon are the options of everything that is a contact; a kind's own
// options embed them.
//
// A closed circuit takes the line away from its pull: to low with the pull up,
// to high with the pull down. With the pull off, the line is taken to be pulled
// up by a resistor outside.
type contactCommon struct {
	// the circuit while the value is 0: closed or open; without it, a high line is 1
	Normally string `yaml:"normally"`
	// how long the contact has to be quiet
	Debounce time.Duration `yaml:"debounce"`
	// stable: a level counts once it has held that long, and a shorter pulse is noise; settle:
	// the first edge counts at once, even of a short pulse, and the next change once it was
	// quiet that long
	Mode debounce.Mode `yaml:"debounce_mode"`
	// keeps the value at 1 that long after it was 1 last: one detection of motion instead of
	// many
	Hold time.Duration `yaml:"hold"`
	// more readings than this in a minute are an event, with a count each hour, and the level
	// at most once a minute; 0: never
	Flapping int `yaml:"flapping"`
	// Home Assistant's device class of a binary sensor; it gives the states their words
	Class string `yaml:"class"`
}

// A debounce of ten seconds is longer than any contact bounces: more would be a filter on
// what happens, and hold is that. A hold of a day outlasts what a person calls one
// occurrence.
const (
	maxDebounce = 10 * time.Second
	maxHold     = 24 * time.Hour
)

// newContactCommon has an alarm panel's defaults: it takes a level that has held, as a
// spike on a long wire must wake nobody. The time of a reading is the edge's all
// the same.
func newContactCommon() contactCommon {
	return contactCommon{Debounce: 50 * time.Millisecond, Mode: debounce.Stable, Flapping: 30}
}

// check is Check of the kinds that embed these options and have a line of their own.
func (o *contactCommon) check() (problems []Problem) {
	if o.Normally != "" && o.Normally != "closed" && o.Normally != "open" {
		problems = append(problems, problem("normally",
			"%q is not closed or open (the circuit, while the door is shut or nothing moves)", o.Normally))
	}
	if o.Debounce < 0 || o.Debounce > maxDebounce {
		problems = append(problems, problem("debounce", "%v is not between 0 and %v", o.Debounce, maxDebounce))
	}
	if o.Mode != debounce.Stable && o.Mode != debounce.Settle {
		problems = append(problems, problem("debounce_mode", "%q is not stable or settle", o.Mode))
	}
	if o.Hold < 0 || o.Hold > maxHold {
		problems = append(problems, problem("hold", "%v is not between 0 and %v", o.Hold, maxHold))
	}
	if o.Flapping < 0 || o.Flapping > 10000 {
		problems = append(problems, problem("flapping", "%d is not between 0 (never) and 10000 readings in a minute",
			o.Flapping))
	}
	if _, ok := classWords[o.Class]; !ok {
		problems = append(problems, problem("class", "unknown class %q: Home Assistant knows %s",
			o.Class, knownClasses()))
	}
	return problems
}

// Pace is 0: a contact reports when it changes.
func (o *contactCommon) Pace() time.Duration { return 0 }

// Quantities are one of two states, whose words follow from the class.
func (o *contactCommon) Quantities() []sensors.Quantity {
	words := classWords[o.Class]
	return []sensors.Quantity{{Name: "contact", Class: o.Class, States: words[:]}}
}

// open makes a contact of a line.
func (o *contactCommon) open(name string, l gpio.Line, pull gpio.Pull) *contact {
	return &contact{name: name, line: l, highIsOn: o.highIsOn(pull), quiet: o.Debounce,
		filter: debounce.New(debounce.Options{Mode: o.Mode, Quiet: o.Debounce, Hold: o.Hold, MaxPerMinute: o.Flapping})}
}

// highIsOn reports whether a high line is 1. The value is 1 when the circuit is
// not as it normally is.
func (o *contactCommon) highIsOn(pull gpio.Pull) bool {
	// A closed circuit pulls against the resistor.
	highIsOpen := pull != gpio.PullDown
	return !(o.Normally == "open" && highIsOpen || o.Normally == "closed" && !highIsOpen)
}
