// Package lines reads measurements that another program writes as lines: into a
// named pipe, or to the standard output of a command that is kept running or is run for each
// measurement. A line is a number, a word of states, or a flat JSON object with a value for each
// quantity.
package lines

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Options say where lines come from and what they mean. Exactly one of File and
// Command is set.
type Options struct {
	File         string   // a named pipe
	Command      []string // a program and its arguments
	Quantities   []sensors.Quantity
	MaxPerSecond int           // lines on average; of what is beyond, the newest values stay
	Silence      time.Duration // without a line for so long, a read fails; 0: never
}

// Open opens the pipe or starts the command. Close of the sensor ends the command
// and what it started.
func Open(o Options) (sensors.Sensor, error) { return open(o) }

// open is Open for tests, which look inside.
func open(o Options) (*sensor, error) {
	source, err := o.source()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &sensor{
		source:     source,
		reader:     reader{file: source.lines(), writers: o.File != ""},
		quantities: o.Quantities,
		silence:    o.Silence,
		heard:      now,
		limit:      newLimit(o.MaxPerSecond, now),
	}, nil
}

// source opens where the lines come from.
func (o Options) source() (source, error) {
	if o.File != "" {
		return openFIFO(o.File)
	}
	return startCommand(o.Command, nil)
}
