package main

import (
	"context"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/scan"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// runScan shows what is wired to this machine. It opens no configuration. Beside an
// agent that runs it is safe: lines are not requested, and a bus is shared.
func runScan(ctx context.Context, args []string) error {
	f := flags("scan")
	yaml := f.Bool("yaml", false, "print stanzas to paste below sensors:")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	return scan.Run(ctx, drivers.NewHardware(), scan.Options{YAML: *yaml, Out: stdout})
}
