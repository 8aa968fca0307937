package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/broker"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/page"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/systemd"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/output"
	"github.com/holdfast-iot/holdfast/uplink/network"
)

// run runs the agent until ctx is done. At each SIGHUP it reads the file again and, if
// the file is valid, uses the new configuration. The agent restarts inside the process only
// if it has to: see isSameBase. If the new configuration cannot be started, run returns to
// the last one that could: an edit must not end an agent in the field.
func run(ctx context.Context, args []string) error {
	// One reload may wait while another is under way; a third one would read the same file.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // first of all: by default SIGHUP ends the process
	f := flags("run")
	path := configFlag(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	cfg, err := load(ctx, *path)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	lines := newAsyncWriter(os.Stderr)
	defer func() {
		// If standard error hangs, printing the error that run returns would hang as well.
		if !lines.close(lastLines) {
			stderr = io.Discard
		}
	}()
	// drivers.NewHardware must be called before any file is opened: see its comment.
	r := &runner{path: *path, hup: hup, log: newLog(lines), hw: drivers.NewHardware(), cfg: cfg,
		reloads: make(chan config.Config)}
	r.lines = output.NewHardware(r.hw)
	r.manager = systemd.New(r.log)
	// The notifier tells systemd that the agent stops when ctx is done or run returns.
	notifying, end := context.WithCancel(ctx)
	var notifier sync.WaitGroup
	notifier.Go(func() { r.manager.Run(notifying) })
	defer notifier.Wait()
	defer end()
	for {
		next, err := r.untilRestart(ctx)
		switch {
		case next != nil:
			r.setConfig(*next)
		case err != nil && ctx.Err() == nil && r.previous != nil:
			r.log.Error("configuration not changed: the new one cannot be started", "err", err)
			r.cfg, r.previous = *r.previous, nil
		default:
			return err
		}
	}
}

// A runner runs one configuration after another. Its fields belong to the goroutine of
// run. While an agent runs, the goroutine of awaitReload owns path, hup, cfg and previous.
type runner struct {
	path    string            // of the configuration; "-" is standard input
	hup     <-chan os.Signal  // each signal asks for a reload
	log     *slog.Logger      // of the agent, to standard error
	hw      *drivers.Hardware // the open devices, shared by all configurations
	lines   *output.Hardware  // the open lines of outputs, shared by all configurations
	opener  opener            // of the queue, for all configurations
	unsaved *queue.Unsaved    // what the queue could not write at its last end; nil: nothing
	manager *systemd.Notifier // nil: systemd does not listen

	cfg config.Config // the current one, as load returned it
	// previous is the configuration that ran before cfg; nil: there is none. It is cleared
	// when cfg fails, so that two broken configurations do not alternate for ever.
	previous *config.Config
	reloads  chan config.Config // to the agent that runs

	problems atomic.Pointer[startProblems] // of the machine, for cfg
	looking  sync.WaitGroup                // the searches for problems that still run
}

// setConfig makes next the current configuration.
func (r *runner) setConfig(next config.Config) {
	before := r.cfg
	r.previous, r.cfg = &before, next
}

// load reads the configuration and the files that it names. It returns mistakes as
// config.Errors or as a usageError, and adds suspicious settings to the warnings.
func load(ctx context.Context, path string) (config.Config, error) {
	cfg, err := config.Load(ctx, path)
	if err != nil {
		return cfg, err
	}
	// trust comes before load reads any file that the configuration names.
	if err := trust(cfg, path); err != nil {
		return cfg, err
	}
	warnings, err := cfg.Uplink.Check(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return cfg, ctx.Err()
	case err != nil:
		return cfg, usageError{err}
	}
	for _, w := range warnings {
		cfg.Warnings = append(cfg.Warnings, config.Error{File: path, Text: w})
	}
	if err := page.Check(ctx, cfg.Status); err != nil {
		return cfg, usageError{err}
	}
	// Some fields do not come from the file: see config.Config.
	describe(&cfg)
	cfg.Uplink.MaxRetry = maxRetryWait
	return cfg, nil
}

// maxRetryWait is the longest wait between two attempts to connect. 0 is the link's own
// maximum of one minute; only tests set a shorter one.
var maxRetryWait time.Duration

// untilRestart runs the agent until a new configuration needs a restart, and returns that
// configuration. It returns nil and the error if the agent ends otherwise. In both cases
// r.unsaved keeps what the queue could not write.
func (r *runner) untilRestart(ctx context.Context) (*config.Config, error) {
	running, end := context.WithCancel(ctx)
	defer end()
	reloaded, cfg := make(chan *config.Config, 1), r.cfg
	r.prepare(running, cfg)
	go func() {
		next := r.awaitReload(running)
		end()
		reloaded <- next
	}()
	err := r.runOne(running, cfg)
	end()
	next := <-reloaded
	r.looking.Wait()
	// The agent ends with context.Canceled if it was asked to, else with its own error.
	if !errors.Is(err, context.Canceled) {
		return nil, errors.Join(err, r.unsaved.Err())
	}
	if ctx.Err() == nil {
		return next, nil // the next queue gets r.unsaved
	}
	r.log.Info("holdfast stopped")
	return nil, r.unsaved.Err()
}

// prepare logs the warnings of a configuration that is about to run, and starts the search
// for problems of this machine. It does not wait for the search.
func (r *runner) prepare(ctx context.Context, cfg config.Config) {
	for _, w := range cfg.Warnings {
		r.log.Warn("configuration", "warning", w)
	}
	limitGarbage(cfg)
	r.hw.Forget() // the user may have edited the file because the hardware changed
	found := new(startProblems)
	r.problems.Store(found)
	r.looking.Go(func() { found.look(ctx, cfg, r.hw, r.log) })
}

// firstMistakes shortens the mistakes of a file to the first five for the log: holdfast
// check lists all of them.
func firstMistakes(err error) error {
	var all config.Errors
	if errors.As(err, &all) {
		return all.First(5)
	}
	return err
}

// awaitReload sends the running agent each new configuration that needs no restart. It
// returns the first one that needs a restart, or nil when ctx is done.
func (r *runner) awaitReload(ctx context.Context) *config.Config {
	var next config.Config
	var reloads chan<- config.Config // nil: there is no next, or the agent has taken it
	for {
		select {
		case <-ctx.Done():
			return nil
		case reloads <- next:
			r.setConfig(next)
			reloads = nil
		case <-r.hup: // also while the agent has not taken next yet: the newest file replaces it
			read := r.readAgain(ctx)
			if read == nil {
				continue
			}
			if !isSameBase(r.cfg, *read) {
				return read
			}
			r.prepare(ctx, *read)
			next, reloads = *read, r.reloads
		}
	}
}

// readAgain reads the file again. It returns nil if ctx is done, or if the file has
// mistakes, which it logs; the agent then keeps its configuration. It tells systemd about
// the reload and about its failure.
func (r *runner) readAgain(ctx context.Context) *config.Config {
	// Standard input cannot be read twice.
	if r.path == "-" {
		r.log.Error("the configuration came from standard input: it cannot be read again")
		return nil
	}
	r.manager.Reloading()
	next, err := load(ctx, r.path)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		r.log.Error("configuration not changed: the file is wrong", "err", firstMistakes(err))
		r.manager.Kept()
		return nil
	}
	r.log.Info("configuration read again", "file", r.path)
	return &next
}

// runOne runs the agent, and its own broker if it has one, until ctx is done or one of
// them fails. The queue gets r.unsaved, which the one before could not write; r.unsaved is
// then what this queue could not write.
func (r *runner) runOne(ctx context.Context, cfg config.Config) error {
	// The broker starts first and ends last: the agent's last act is to disconnect from it.
	if cfg.Embedded != nil {
		password, err := cfg.Embedded.Password.Read(ctx)
		if err != nil {
			return unlessStopped(ctx, usageError{err})
		}
		b, err := broker.Listen(cfg.Embedded.Listen, password, quiet(r.log))
		if err != nil {
			return err
		}
		defer b.Close()
	}
	// unsaved is nil if the queue was never open: then r.unsaved still waits for a queue.
	unsaved, err := serve(ctx, cfg, surroundings{open: r.hw.Open, openLine: r.lines.Open, log: r.log,
		manager: r.manager, problems: func() []string { return r.problems.Load().list() },
		awaitNetwork: network.AwaitBack, opener: &r.opener, unsaved: r.unsaved, reloads: r.reloads})
	if unsaved != nil {
		r.unsaved = unsaved
	}
	return err
}

// trust returns an error for a configuration file that other users can change, if the file
// would give them rights that they do not have: those of root, or the agent's rights to
// run commands.
func trust(cfg config.Config, path string) error {
	// Without commands and without root the file gives nobody more rights.
	if cfg.Untrusted == "" || !cfg.Commands && os.Geteuid() != 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s: %s", path, cfg.Untrusted)}
}

// unlessStopped returns err, or nil if ctx is done: an agent that was asked to stop has
// not failed.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// check reads the configuration and reports all mistakes in it. It opens no device and
// no file with a secret, so it works on any machine.
func check(ctx context.Context, args []string) error {
	f := flags("check")
	path := configFlag(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	cfg, err := config.Load(ctx, *path)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	fmt.Fprintf(stdout, "%s: ok, %s\n", *path, countText(cfg))
	return nil
}

// counted returns a number with its noun: "1 rule", "2 rules".
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// countText says how many sensors, streams, outputs and rules a configuration has. It
// leaves out optional parts that the configuration does not have.
func countText(cfg config.Config) string {
	text := counted(len(cfg.Sensors), "sensor") + ", " + counted(len(cfg.Uplink.Streams), "stream")
	if n := len(cfg.Outputs); n > 0 {
		text += ", " + counted(n, "output")
	}
	if n := len(cfg.Rules); n > 0 {
		text += ", " + counted(n, "rule")
	}
	if cfg.Arming != nil {
		text += ", an alarm panel"
	}
	return text
}
