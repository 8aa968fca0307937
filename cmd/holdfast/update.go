package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/update"
	"github.com/holdfast-iot/holdfast/config"
)

// runUpdate is what holdfast-update.timer starts.
//
// It asks the running agent whether it delivers readings, so it needs the configuration
// that the service uses. Only root may install packages; the control socket accepts root.
func runUpdate(ctx context.Context, args []string) error {
	f := flags("update")
	path := configFlag(f)
	// This time includes the start of the agent, several attempts to connect and one
	// acknowledgement.
	wait := f.Duration("wait", 10*time.Minute, "go back if the new version does not deliver within this `time`")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	// Checked before the configuration is read, so that the error is not about its permissions.
	if os.Geteuid() != 0 {
		return usageError{errors.New("update installs packages: run it as root")}
	}
	cfg, err := config.Load(ctx, *path)
	if err != nil {
		return err
	}
	return update.Run(ctx, update.Options{
		Cache:  update.Cache,
		Wait:   *wait,
		Run:    runSystem,
		Ask:    func() (status.Snapshot, error) { return control.AskStatus(cfg.Queue.Path) },
		Report: func(o update.Outcome) error { return control.TellUpdated(cfg.Queue.Path, o) },
		Log:    newLog(os.Stderr),
	})
}

// runSystem runs a program of the system and returns its output; an error has the end of
// its error output. Questions get their default answers. The program is killed when ctx
// ends. The language is fixed, because the output is parsed.
func runSystem(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	// debconf must not wait for an answer, and the output of apt-cache is parsed.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		// The reason is at the end: apt prints its progress before it.
		const enough = 300 // bytes
		text := strings.TrimSpace(complaints.String())
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text[max(0, len(text)-enough):])
	}
	return string(out), err
}
