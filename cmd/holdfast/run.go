package main

import (
	"context"
	"errors"
	"fmt"
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

// run is the agent until ctx is done. At each SIGHUP whose file is valid it goes on
// with the new configuration: as far as it can without a new start, see isSameBase.
// A configuration that cannot be started gives way to the one that could: an agent in
// the field must not end because of an edit.
func run(ctx context.Context, args []string) error {
	// One reload may wait while another is under way; more would be the same file.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // from the first moment: by default it kills
	f := flags("run")
	path := configFlag(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	cfg, err := load(ctx, *path)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	// NewHardware comes before any file is opened: see there.
	r := &runner{path: *path, hup: hup, log: newLog(os.Stderr), hw: drivers.NewHardware(), cfg: cfg,
		reloads: make(chan config.Config)}
	r.lines = output.NewHardware(r.hw)
	r.manager = systemd.New(r.log)
	// systemd is told until the very end, also while the agent stops.
	telling, end := context.WithCancel(ctx)
	var tell sync.WaitGroup
	tell.Go(func() { r.manager.Run(telling) })
	defer tell.Wait()
	defer end()
	for {
		next, err := r.untilRestart(ctx)
		switch {
		case next != nil:
			r.follow(*next)
		case err != nil && ctx.Err() == nil && r.good != nil:
			r.log.Error("configuration not changed: the new one cannot be started", "err", err)
			r.cfg, r.good = *r.good, nil
		default:
			return err
		}
	}
}

// A runner runs one configuration after another. It belongs to the goroutine of run,
// and what awaitReload uses to the goroutine of that while an agent runs.
type runner struct {
	path    string            // of the configuration; "-" is standard input
	hup     <-chan os.Signal  // each asks for a reload
	log     *slog.Logger      // of the agent, to standard error
	hw      *drivers.Hardware // one for all configurations: it holds what is open
	lines   *output.Hardware  // the same, for outputs
	left    *queue.Unsaved    // what the queue of the last start could not write
	manager *systemd.Notifier // nil: none listens

	cfg config.Config // the one that runs, as load returned it
	// good is the last one that has run before cfg; it is used up when cfg fails, so
	// that two that fail do not take turns for ever. nil: there is none.
	good    *config.Config
	reloads chan config.Config // to the agent that runs

	found   atomic.Pointer[startProblems] // around cfg
	looking sync.WaitGroup                // for problems
}

// follow makes next the configuration that runs.
func (r *runner) follow(next config.Config) {
	before := r.cfg
	r.good, r.cfg = &before, next
}

// load reads the configuration and the files that it names. What is wrong is a
// config.Errors or a usageError; what is suspicious is added to the warnings.
func load(ctx context.Context, path string) (config.Config, error) {
	cfg, err := config.Load(ctx, path)
	if err != nil {
		return cfg, err
	}
	// Before any file that it names is read.
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
	// What the file does not have: see config.Config.
	describe(&cfg)
	cfg.Uplink.MaxRetry = maxRetryWait
	return cfg, nil
}

// maxRetryWait bounds the wait between attempts to connect. 0 is the link's own bound
// of a minute; only tests, which cannot wait so long again and again, set another.
var maxRetryWait time.Duration

// untilRestart runs the agent until a configuration needs a new start. It returns that
// one, or nil and what ended the agent. What the queue could not write stays in r.left
// in both cases.
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
		return nil, errors.Join(err, r.left.Err())
	}
	if ctx.Err() == nil {
		return next, nil // what is left goes on in memory
	}
	r.log.Info("holdfast stopped")
	return nil, r.left.Err()
}

// prepare logs what is suspicious in a configuration that is about to run, and looks
// for what is wrong around the agent, which does not wait for that.
func (r *runner) prepare(ctx context.Context, cfg config.Config) {
	for _, w := range cfg.Warnings {
		r.log.Warn("configuration", "warning", w)
	}
	limitGarbage(cfg)
	r.hw.Forget() // the file may have been changed because the hardware was
	found := new(startProblems)
	r.found.Store(found)
	r.looking.Go(func() { found.look(ctx, cfg, r.hw, r.log) })
}

// firstMistakes is as much of what is wrong with a file as a log wants: holdfast
// check lists all.
func firstMistakes(err error) error {
	var all config.Errors
	if errors.As(err, &all) {
		return all.First(5)
	}
	return err
}

// awaitReload gives the agent that runs each configuration that it can go on with. It
// returns the first one that needs a new start, nil when ctx is done.
func (r *runner) awaitReload(ctx context.Context) *config.Config {
	var next config.Config
	var reloads chan<- config.Config // nil: the agent has next, or there is none
	for {
		select {
		case <-ctx.Done():
			return nil
		case reloads <- next:
			r.follow(next)
			reloads = nil
		case <-r.hup: // also while the agent still starts: the newest file counts
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

// readAgain reads the file, all or nothing; nil if it has mistakes, which are logged,
// or ctx is done. The agent goes on as before then. systemd is told both times.
func (r *runner) readAgain(ctx context.Context) *config.Config {
	// Standard input was read to its end.
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

// runOne starts the agent, and its own broker if it has one, and runs them until ctx is
// done or one of them fails. What the last queue could not write goes into the next
// one, and what this queue could not write is kept for the one after it.
func (r *runner) runOne(ctx context.Context, cfg config.Config) error {
	// The broker comes first and ends last: the agent connects to it, and says
	// goodbye to it.
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
	// serve returns what the queue could not write; nil if the queue was never open.
	left, err := serve(ctx, cfg, surroundings{open: r.hw.Open, openLine: r.lines.Open, log: r.log, manager: r.manager,
		problems:     func() []string { return r.found.Load().list() },
		awaitNetwork: network.AwaitBack, unsaved: r.left, reloads: r.reloads})
	if left != nil {
		r.left = left
	}
	return err
}

// trust refuses a configuration that every user of this machine can change, if it
// would lend them rights that they do not have: root's, or those of the agent
// to commands.
func trust(cfg config.Config, path string) error {
	// Without commands and without root, a file that others write is their own affair.
	if cfg.Untrusted == "" || !cfg.Commands && os.Geteuid() != 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s: %s", path, cfg.Untrusted)}
}

// unlessStopped is an error, but not if the agent was told to stop meanwhile: it
// has ended in order.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// check reads the configuration and says everything that is wrong with it. It
// opens no device and no secret, so it works off the target.
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

// counted is a number and what it counts: "1 rule", "2 rules".
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// countText says how much of everything a configuration has. What it has none of, and need
// not have, is left out.
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
