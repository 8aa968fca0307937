package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers/output"
)

// runOutputs shows the state of the outputs as the running agent knows it, or sets all of
// them to their safe levels. Flags may come before and after the verb.
func runOutputs(ctx context.Context, args []string) error {
	f := flags("outputs")
	path := configFlag(f)
	f.Usage = func() { outputsUsage(f) }
	if err := parse(f, args, math.MaxInt); err != nil {
		return err
	}
	verb := f.Arg(0)
	if verb != "" {
		if err := parse(f, f.Args()[1:], 0); err != nil { // flags after the verb
			return err
		}
	}
	if verb != "" && verb != "safe" {
		return usageError{fmt.Errorf("unknown verb %q of outputs; there is safe, and without a verb they are shown", verb)}
	}
	cfg, err := config.Load(ctx, *path)
	switch {
	case verb == "safe":
		return makeSafe(ctx, cfg, err, *path)
	case err != nil:
		return err
	}
	return showOutputs(cfg)
}

// outputsUsage prints the verb and the flags.
func outputsUsage(f *flag.FlagSet) {
	fmt.Fprintf(f.Output(), "Usage: holdfast outputs [-c FILE] [safe]\n\n"+
		"  %-8s %s\n\n", "safe", "puts all outputs to their safe level, with the agent running or not")
	f.PrintDefaults()
}

// showOutputs prints the outputs as `holdfast status` does.
func showOutputs(cfg config.Config) error {
	s, err := control.AskStatus(cfg.Queue.Path)
	if err != nil {
		return explainNotRunning(err, cfg.Queue.Path)
	}
	if len(s.Outputs) == 0 {
		fmt.Fprintln(stdout, "the agent has no outputs")
		return nil
	}
	p := &statusPage{Snapshot: s}
	p.outputs()
	_, err = io.WriteString(stdout, p.out.String())
	return err
}

// makeSafe sets every output to its safe level: through the agent that holds the lines, or
// directly if none runs or it does not answer. The systemd unit runs it after the agent has
// ended in any way. So it creates no file, and it also uses the configuration that ran
// last; broken is the error of the present file.
func makeSafe(ctx context.Context, cfg config.Config, broken error, path string) error {
	if broken == nil {
		broken = trust(cfg, path)
	}
	ran := loadRunning(cfg, path)
	if broken != nil {
		if len(ran.Outputs) == 0 {
			return broken
		}
		fmt.Fprintf(stderr, "holdfast: the configuration that ran last counts, as the file cannot be used: %v\n", broken)
		cfg = ran
	}
	if len(cfg.Outputs)+len(ran.Outputs) == 0 {
		return nil
	}
	asked := control.MakeSafe(cfg.Queue.Path)
	if asked == nil {
		fmt.Fprintf(stdout, "%s made safe by the agent\n", counted(max(len(cfg.Outputs), len(ran.Outputs)), "output"))
		return nil
	}
	count, err := makeAllSafe(ctx, ran.Outputs, cfg.Outputs, output.NewStandalone().Open)
	switch {
	case err == nil:
		fmt.Fprintf(stdout, "%s made safe\n", counted(count, "output"))
	case !errors.Is(asked, control.ErrNotRunning):
		err = errors.Join(asked, err)
		if errors.Is(asked, os.ErrPermission) {
			err = fmt.Errorf("%w\nask as the user that the agent runs as, or as root", err)
		}
	}
	return err
}
