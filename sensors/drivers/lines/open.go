// Package lines reads measurements that another program writes as lines: into a named pipe, or to
// the standard output of a command, which runs all the time or is run for each measurement. A line
// is a number, the name of a state, or a flat JSON object with a value for each quantity.
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
	MaxPerSecond int           // average limit of lines; of further lines only the newest values are kept
	Silence      time.Duration // a read fails after this time without a line; 0: never
}

// Open opens the pipe or starts the command. Close of the sensor ends the command and its child
// processes.
func Open(o Options) (sensors.Sensor, error) { return open(o) }

// open is Open with the concrete type, for tests.
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
		lastLine:   now,
		limit:      newLimit(o.MaxPerSecond, now),
	}, nil
}

// source opens the source of the lines.
func (o Options) source() (source, error) {
	if o.File != "" {
		return openFIFO(o.File)
	}
	return startCommand(o.Command, nil)
}
