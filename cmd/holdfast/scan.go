package main

import (
	"context"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/scan"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// runScan shows what is connected to this machine. It needs no configuration. It is safe
// while an agent runs: it requests no lines, and shares the buses.
func runScan(ctx context.Context, args []string) error {
	f := flags("scan")
	yaml := f.Bool("yaml", false, "print stanzas to paste below sensors:")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	return scan.Run(ctx, drivers.NewHardware(), scan.Options{YAML: *yaml, Out: stdout})
}
