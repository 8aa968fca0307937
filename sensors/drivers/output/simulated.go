package output

import (
	"context"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// simulatedOptions are the options of an output without hardware, for tests, demos and load tests.
type simulatedOptions struct{ Kind string }

// Check reports any other kind.
func (o *simulatedOptions) Check() []drivers.Problem {
	if o.Kind == "simulated" {
		return nil
	}
	return []drivers.Problem{problem("kind", "unknown kind %q: an output has gpio, mcp23017, pcf8574 or command, "+
		"or kind: simulated", o.Kind)}
}

// Claims returns none.
func (o *simulatedOptions) Claims() []string { return nil }

func (o *simulatedOptions) open(_ context.Context, _ *Hardware, safe bool) (outputs.Line, error) {
	return &simulatedLine{on: safe}, nil
}

// simulatedLine stores the last value that was set.
type simulatedLine struct{ on bool }

func (l *simulatedLine) Set(_ context.Context, on bool) error { l.on = on; return nil }

func (l *simulatedLine) Get(context.Context) (bool, error) { return l.on, nil }

func (l *simulatedLine) Close() error { return nil }
