// Package driver has the types that every kind of sensor implements or uses: its options, the
// hardware of the machine, and quantities that several kinds measure. The kinds are in package
// drivers, and in the packages below it by family.
package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Kind is one entry in the table of kinds. docs/sensors.md is generated from it, from the keys
// and comments of its options, and from their defaults.
type Kind struct {
	Word   string         // after `kind:` in a configuration
	New    func() Options // returns the default options
	Part   string         // the parts that it reads, by their makers' names
	Source string         // the datasheet or specification that the driver follows
}

// Options are the options of one sensor of a kind. The implementation is a pointer to a struct
// whose yaml tags are the keys; package config fills it.
type Options interface {
	// Check returns what is wrong with the options. It does not look at the hardware, so that
	// it gives the same result on another machine.
	Check() []Problem
	// Pace is the default time between two measurements. It is 0 for a kind that waits for
	// events and has no `every`.
	Pace() time.Duration
	// Quantities returns what the sensor measures. It is known before Open.
	Quantities() []sensors.Quantity
	// Open opens the device.
	Open(context.Context, *Hardware) (sensors.Sensor, error)
}

// A Claimer is implemented by Options whose sensor needs hardware for itself. Claims returns the
// names of its lines or addresses, in the same form for all kinds, so that no two sensors use the
// same one. It is called only after Check has found nothing wrong.
type Claimer interface{ Claims() []string }

// A Sharer is implemented by Options whose sensor shares a bus with others that must have the
// same settings for it. Shares returns the name of the bus, and the settings in the form of the
// configuration. It is called only after Check has found nothing wrong.
type Sharer interface{ Shares() (bus, settings string) }

// A Commander is implemented by Options that may name a program, which the agent runs with its
// own rights.
type Commander interface{ RunsCommand() bool }

// A Problem is a mistake in the configuration that the user must correct.
type Problem struct {
	Key  string // the option's key, "wave.period" in a nested one; empty for the sensor as a whole
	Text string // what is wrong and what to write instead
}

// Problemf is a [Problem] with a formatted text.
func Problemf(key, format string, args ...any) Problem {
	return Problem{key, fmt.Sprintf(format, args...)}
}
