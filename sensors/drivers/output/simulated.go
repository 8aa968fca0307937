package output

import (
	"context"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// simulatedOptions are those of a line that is nowhere, for tests, demos and load.
type simulatedOptions struct{ Kind string }

// Check says whether it is the one kind that there is.
func (o *simulatedOptions) Check() []drivers.Problem {
	if o.Kind == "simulated" {
		return nil
	}
	return []drivers.Problem{problem("kind", "unknown kind %q: an output has gpio, mcp23017, pcf8574 or command, "+
		"or kind: simulated", o.Kind)}
}

// Claims is nothing.
func (o *simulatedOptions) Claims() []string { return nil }

func (o *simulatedOptions) open(_ context.Context, _ *Hardware, safe bool) (outputs.Line, error) {
	return &simulatedLine{on: safe}, nil
}

// simulatedLine remembers what it was told.
type simulatedLine struct{ on bool }

func (l *simulatedLine) Set(_ context.Context, on bool) error { l.on = on; return nil }

func (l *simulatedLine) Get(context.Context) (bool, error) { return l.on, nil }

func (l *simulatedLine) Close() error { return nil }
