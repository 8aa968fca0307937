package drivers

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/lines"
)

// linesOptions are the options of kind lines: a program that writes lines into a named pipe, a
// command that is kept running, or one that is run at each `every`. A line is a number, the name of a
// state, or a flat JSON object with a value for each quantity.
type linesOptions struct {
	// a named pipe (mkfifo) that something else writes to: /run/tank
	File string `yaml:"file"`
	// the program and its arguments: it is kept running and writes to its standard output
	Command []string `yaml:"command"`
	// the command is run that often instead, one run at a time, and has to write its lines and
	// end within 7s: 1s or more
	Every time.Duration `yaml:"every"`
	// what a line tells
	Quantity string `yaml:"quantity"`
	// as Home Assistant writes it
	Unit string `yaml:"unit"`
	// Home Assistant's device class; without it the quantity, if that is a class with this unit
	Class string `yaml:"class"`
	// the words for the values 0, 1, ...: [closed, open]
	States []string `yaml:"states"`
	// instead of quantity, where each line is a JSON object: {level: {unit: "%"}, flow: {unit:
	// L/min}}; keys unit, class, states
	Several lineKinds `yaml:"quantities"`
	// the maximum of lines a second on average; of further lines only the newest values are kept
	MaxPerSecond int `yaml:"most"`
	// no line in this time is a failure: 10m; without it, silence is not a failure
	Silence time.Duration `yaml:"silence"`
}

// lineKinds are the quantities of JSON objects, by name.
type lineKinds map[string]lineKind

// A lineKind describes one quantity.
type lineKind struct {
	Unit   string   `yaml:"unit"`
	Class  string   `yaml:"class"`
	States []string `yaml:"states"`
}

// maxLines bounds the load of one program: each line is a reading in the queue. Faster signals, such
// as contacts and pulses, have their own kinds.
const maxLines = 1000 // per second

// newLines allows ten lines per second, in case a program writes without a pause by mistake.
func newLines() Options { return &linesOptions{MaxPerSecond: 10} }

// Check returns what is wrong with the options.
func (o *linesOptions) Check() []Problem {
	problems := o.checkSource()
	if o.Several != nil && (o.Quantity != "" || o.Unit != "" || o.Class != "" || o.States != nil) {
		problems = append(problems, problem("quantities",
			"has a unit, class and states for each: leave out quantity, unit, class and states beside it"))
	}
	for _, q := range o.Quantities() {
		problems = append(problems, o.checkQuantity(q)...)
	}
	if o.MaxPerSecond < 1 || o.MaxPerSecond > maxLines {
		problems = append(problems, problem("most", "%d is not between 1 and %d lines a second", o.MaxPerSecond, maxLines))
	}
	if o.Silence != 0 && (o.Silence < time.Second || o.Silence > sensors.MaxEvery) {
		problems = append(problems, problem("silence", "%v is not between 1s and 7d", o.Silence))
	}
	return append(problems, o.checkEvery()...)
}

// minEvery bounds the cost of starting a program: about 20 ms of CPU time on a Pi Zero.
const minEvery = time.Second

// checkEvery checks `every`, which only a command can have.
func (o *linesOptions) checkEvery() []Problem {
	switch {
	case o.Every == 0:
		return nil
	case o.File != "":
		return []Problem{problem("every", "is for a command that is run again and again: "+
			"leave it out, a line in a pipe comes when it comes")}
	case o.Every < minEvery:
		return []Problem{problem("every", "%v is shorter than 1s: leave every out, and let the program go on and "+
			"write a line for each value", o.Every)}
	case o.Silence != 0:
		return []Problem{problem("silence", "is for a program that is kept running: leave it out, a run without a "+
			"line is a failure")}
	}
	return nil
}

// checkSource checks the source of the lines. It does not look for the pipe or the program, because
// `holdfast check` may run on another machine.
func (o *linesOptions) checkSource() (problems []Problem) {
	if (o.File == "") == (len(o.Command) == 0) {
		problems = append(problems, problem("", "needs one of file and command: file: /run/tank or command: "+
			"[/usr/local/bin/tank-level]"))
	}
	if o.File != "" && !filepath.IsAbs(o.File) {
		problems = append(problems, problem("file", "%q is not an absolute path: write e.g. /run/tank", o.File))
	}
	if len(o.Command) > 0 && o.Command[0] == "" {
		problems = append(problems, problem("command",
			"begins with nothing: write the program first, as in [/usr/local/bin/tank-level]"))
	}
	return problems
}

// checkQuantity checks one of the quantities, under the key where it is written.
func (o *linesOptions) checkQuantity(q sensors.Quantity) (problems []Problem) {
	at, under := "quantity", ""
	if o.Several != nil {
		at, under = "quantities."+q.Name, "quantities."+q.Name+"."
	}
	if !sensors.IsName(q.Name) {
		problems = append(problems, problem(at, "%q is empty or has other characters than A-Z a-z 0-9 _ -", q.Name))
	}
	if q.States == nil {
		return problems
	}
	if text := statesProblem(q.States); text != "" {
		problems = append(problems, problem(under+"states", "%s", text))
	}
	if q.Unit != "" {
		problems = append(problems, problem(under+"unit", "states have none: leave it out"))
	}
	return problems
}

// Pace is `every` of a command that is run repeatedly, and otherwise 0: the lines are events.
func (o *linesOptions) Pace() time.Duration { return o.Every }

// RunsCommand reports whether the agent runs a program for the sensor.
func (o *linesOptions) RunsCommand() bool { return len(o.Command) > 0 }

// Claims returns the pipe: a second reader would take a part of its lines.
func (o *linesOptions) Claims() []string {
	if o.File == "" {
		return nil
	}
	return []string{filepath.Clean(o.File)}
}

// Quantities are ordered by name, because a mapping in YAML has no order.
func (o *linesOptions) Quantities() []sensors.Quantity {
	if o.Several == nil {
		return []sensors.Quantity{{Name: cmp.Or(o.Quantity, "value"), Unit: o.Unit, Class: o.Class, States: o.States}}
	}
	var all []sensors.Quantity
	for _, name := range slices.Sorted(maps.Keys(o.Several)) {
		k := o.Several[name]
		all = append(all, sensors.Quantity{Name: name, Unit: k.Unit, Class: k.Class, States: k.States})
	}
	return all
}

// Open starts the program or opens the pipe, without waiting for a line. With `every` it starts
// nothing: Next does.
func (o *linesOptions) Open(context.Context, *Hardware) (sensors.Sensor, error) {
	if o.Every > 0 {
		return lines.OpenRuns(o.Command, o.Quantities()), nil
	}
	return lines.Open(lines.Options{File: o.File, Command: o.Command, Quantities: o.Quantities(),
		MaxPerSecond: o.MaxPerSecond, Silence: o.Silence})
}
