package output

import (
	"context"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/lines"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// commandOptions are the options of a program that keeps running and reads lines "on" or "off" from
// its standard input.
type commandOptions struct{ Command []string }

// Check does not look for the program: the configuration may be checked on another machine.
func (o *commandOptions) Check() []drivers.Problem {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return []drivers.Problem{problem("command", "begins with nothing: write the program first, as in "+
			"[/usr/local/bin/siren]")}
	}
	return nil
}

// Claims returns none: the agent does not know what the program switches.
func (o *commandOptions) Claims() []string { return nil }

// RunsCommand returns true: see [drivers.Commander].
func (o *commandOptions) RunsCommand() bool { return true }

func (o *commandOptions) open(ctx context.Context, _ *Hardware, safe bool) (outputs.Line, error) {
	t, err := lines.StartWriter(o.Command)
	if err != nil {
		return nil, err
	}
	l := commandLine{t}
	if err := l.Set(ctx, safe); err != nil {
		_ = t.Close() // err is the cause
		return nil, err
	}
	return l, nil
}

// commandLine is a program that switches something.
type commandLine struct{ writer *lines.Writer }

func (l commandLine) Set(ctx context.Context, on bool) error {
	if on {
		return l.writer.WriteLine(ctx, "on")
	}
	return l.writer.WriteLine(ctx, "off")
}

// Get returns an error if the program does not run any more, or else ErrNoReadBack.
func (l commandLine) Get(context.Context) (bool, error) {
	if err := l.writer.CheckAlive(); err != nil {
		return false, err
	}
	return false, outputs.ErrNoReadBack
}

func (l commandLine) Close() error { return l.writer.Close() }
