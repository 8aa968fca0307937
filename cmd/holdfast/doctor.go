package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/doctor"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// An exitStatus ends a command that has printed its result itself. report prints nothing
// for it and exits with this number.
type exitStatus int

// Error implements error. The text appears only in tests.
func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// runDoctor runs all checks. The exit status is that of the worst finding: 1 for warnings,
// 2 for errors.
//
// Each result is printed as soon as it is known, or all of them at the end with --json. A
// configuration with errors is an error of the command: without a configuration nothing can
// be checked.
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
	// The announcement to Home Assistant names both, so its size depends on them.
	describe(&cfg)
	// This comes first: a session of the doctor would end that of the agent.
	agent, err := runningAgent(cfg.Queue.Path)
	if err != nil {
		return err
	}
	site := doctor.NewSite(cfg, drivers.NewHardware(), agent)
	defer site.Close()
	report := doctor.Report{Agent: agent != nil}
	// JSON is printed at the end, as its first key is the result of all checks.
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

// startProblems are what the quick checks of holdfast doctor found when the agent started.
// The status page lists them until the next start. The pointer is set once, by look.
type startProblems struct{ found atomic.Pointer[[]string] }

// list returns the problems; it is empty until look has ended. It may be called from any
// goroutine.
func (p *startProblems) list() []string {
	if found := p.found.Load(); found != nil {
		return *found
	}
	return nil
}

// look runs the checks. The agent does not wait for them, because a disk or a driver may
// hang: look is called once, in its own goroutine. hw is the agent's and is safe for
// concurrent use. No running agent is asked, because this is the agent.
func (p *startProblems) look(ctx context.Context, cfg config.Config, hw *drivers.Hardware, log *slog.Logger) {
	found := doctor.AtStart(ctx, doctor.NewSite(cfg, hw, nil), func(check string, f doctor.Finding) {
		log.Warn("something is wrong with this machine", "check", check, "what", f.What, "mend", f.Mend)
	})
	p.found.Store(&found)
}

// runningAgent returns the answer of the agent that uses the queue; nil if no agent runs.
// An agent that runs and cannot be asked is an error, because the checks would end its
// session.
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
