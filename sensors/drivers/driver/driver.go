// Package driver has what every kind of sensor is made of, and what kinds share: their
// options, the machine that they are connected to, and the quantities that several of them
// measure. The kinds are in package drivers, and in packages below it by family.
package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A Kind is one line in a table of what can be read. docs/sensors.md is made
// of it, of the options' keys with their `doc` tags, and of their defaults.
type Kind struct {
	New    func() Options // the options before the file is read
	Part   string         // what it reads, as its makers call it
	Source string         // the datasheet or specification that the driver follows
}

// Options are one sensor's options of its kind. The implementation is a
// pointer to a struct whose yaml tags are the keys; package config fills it.
type Options interface {
	// Check says what is wrong with the options, off the target too.
	Check() []Problem
	// Pace is the time between two measurements if the file does not say;
	// 0 for a kind that waits for events and takes no `every`.
	Pace() time.Duration
	// Quantities are what the sensor measures, known before it is opened.
	Quantities() []sensors.Quantity
	// Open opens the device.
	Open(context.Context, *Hardware) (sensors.Sensor, error)
}

// A Claimer is Options that know which hardware their sensor has for itself: the names of
// its lines or addresses, written the same by all kinds, so that no two sensors have one.
// Claims is called only after Check has found nothing wrong.
type Claimer interface{ Claims() []string }

// A Sharer is Options whose sensor shares a bus with others, which all have the same settings
// for it. Shares returns the name of the bus and the settings, as a person writes them. It is
// called only after Check has found nothing wrong.
type Sharer interface{ Shares() (bus, settings string) }

// A Commander is Options that may name a program, which the agent runs with its own
// rights.
type Commander interface{ RunsCommand() bool }

// A Problem is something that a person has to change.
type Problem struct {
	Key  string // the option's key, "wave.period" in a nested one; empty for the sensor as a whole
	Text string // what is wrong and what to write instead
}

// Problemf is a [Problem] with a formatted text.
func Problemf(key, format string, args ...any) Problem {
	return Problem{key, fmt.Sprintf(format, args...)}
}
