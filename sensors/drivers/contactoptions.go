package drivers

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/debounce"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
)

// contactCommon has the options of all kinds of contacts, which embed it.
//
// A closed circuit pulls the line against its bias: to low with the pull-up, to high with the
// pull-down. With the bias off, an external pull-up resistor is assumed.
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

// maxDebounce is longer than any contact bounces; `hold` is for longer times. A longer hold than
// maxHold would merge separate occurrences.
const (
	maxDebounce = 10 * time.Second
	maxHold     = 24 * time.Hour
)

// newContactCommon has the defaults of an alarm panel: the mode stable, so that a spike on a long wire
// causes no alarm. A reading has the time of its edge nevertheless.
func newContactCommon() contactCommon {
	return contactCommon{Debounce: 50 * time.Millisecond, Mode: debounce.Stable, Flapping: 30}
}

// check returns what is wrong with these options, for Check of the kinds that embed them.
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

// Quantities returns one quantity with two states, whose names depend on the class.
func (o *contactCommon) Quantities() []sensors.Quantity {
	words := classWords[o.Class]
	return []sensors.Quantity{{Name: "contact", Class: o.Class, States: words[:]}}
}

// open returns a contact on a line.
func (o *contactCommon) open(name string, l gpio.Line, pull gpio.Pull) *contact {
	return &contact{name: name, line: l, highIsOn: o.highIsOn(pull), quiet: o.Debounce,
		filter: debounce.New(debounce.Options{Mode: o.Mode, Quiet: o.Debounce, Hold: o.Hold, MaxPerMinute: o.Flapping})}
}

// highIsOn reports whether a high line has the value 1. The value is 1 when the circuit is not in its
// normal state.
func (o *contactCommon) highIsOn(pull gpio.Pull) bool {
	// A closed circuit pulls the line against the bias.
	highIsOpen := pull != gpio.PullDown
	return !(o.Normally == "open" && highIsOpen || o.Normally == "closed" && !highIsOpen)
}
