package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/doctor"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// An exitStatus ends a command that has already said everything.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// runDoctor tries everything that the agent needs. The exit status is that of the
// worst finding: 1 for warnings, 2 for errors.
func runDoctor(ctx context.Context, args []string) error {
	f := flags("doctor")
	path := configFlag(f)
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	cfg, err := config.Load(ctx, *path)
	if err != nil {
		return err
	}
	if err := trust(cfg, *path); err != nil {
		return err
	}
	cfg.Uplink.Version, cfg.Uplink.Hardware = versionName(), hardwareName()
	agent, err := runningAgent(cfg.Queue.Path)
	if err != nil {
		return err
	}
	site := doctor.NewSite(cfg, drivers.NewHardware(), agent)
	defer site.Close()
	report := doctor.Report{Agent: agent != nil}
	report.Result = doctor.Run(ctx, site, func(r doctor.Result) {
		if report.Checks = append(report.Checks, r); !*asJSON {
			doctor.Text(stdout, r)
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if *asJSON {
		if err := report.JSON(stdout); err != nil {
			return err
		}
	}
	if report.Result == doctor.OK {
		return nil
	}
	return exitStatus(report.Result)
}

// runningAgent is what the agent with the queue answers; nil: none runs. One that
// runs and cannot be asked is an error: its session must not be ended.
func runningAgent(queuePath string) (*status.Snapshot, error) {
	answer, err := control.AskStatus(queuePath)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w (run holdfast doctor as the user of the agent, or as root)", err)
	}
	return &answer, nil
}
