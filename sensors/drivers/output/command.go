package output

import (
	"context"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/lines"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// commandOptions are those of a program that is kept running and told "on" or "off" on its
// standard input, a line each.
type commandOptions struct{ Command []string }

// Check does not look whether the program is there: the file may be checked elsewhere.
func (o *commandOptions) Check() []drivers.Problem {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return []drivers.Problem{problem("command", "begins with nothing: write the program first, as in "+
			"[/usr/local/bin/siren]")}
	}
	return nil
}

// Claims is nothing: what a program switches, nobody knows.
func (o *commandOptions) Claims() []string { return nil }

// RunsCommand is true: see [drivers.Commander].
func (o *commandOptions) RunsCommand() bool { return true }

func (o *commandOptions) open(ctx context.Context, _ *Hardware, safe bool) (outputs.Line, error) {
	t, err := lines.StartWriter(o.Command)
	if err != nil {
		return nil, err
	}
	l := commandLine{t}
	if err := l.Set(ctx, safe); err != nil {
		_ = t.Close() // it failed anyway
		return nil, err
	}
	return l, nil
}

// commandLine is a program that switches something.
type commandLine struct{ told *lines.Writer }

func (l commandLine) Set(ctx context.Context, on bool) error {
	if on {
		return l.told.WriteLine(ctx, "on")
	}
	return l.told.WriteLine(ctx, "off")
}

// Get says only whether the program still runs: what it does cannot be asked.
func (l commandLine) Get(context.Context) (bool, error) {
	if err := l.told.CheckAlive(); err != nil {
		return false, err
	}
	return false, outputs.ErrNoReadBack
}

func (l commandLine) Close() error { return l.told.Close() }
