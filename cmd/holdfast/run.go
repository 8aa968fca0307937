package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/broker"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/uplink"
)

// run is the agent until ctx is done, started again with a new configuration
// at each SIGHUP whose file is good.
func run(ctx context.Context, args []string) error {
	f := flags("run")
	path := configFlag(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	cfg, err := load(*path)
	if err != nil {
		return err
	}
	log := newLog(os.Stderr)
	hw := drivers.NewHardware() // before any file is opened: see there
	for {
		next, err := runUntilReload(ctx, cfg, *path, hw, log)
		if next == nil {
			return err
		}
		cfg = *next
	}
}

// load reads the configuration and the files that it names.
func load(path string) (config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return cfg, err
	}
	if err := cfg.Uplink.Check(); err != nil {
		return cfg, mistake{err}
	}
	cfg.Uplink.Version, cfg.Uplink.Hardware = versionName(), hardwareName()
	return cfg, nil
}

// runUntilReload runs one configuration. It returns the next one, or nil and
// what ended the agent.
func runUntilReload(ctx context.Context, cfg config.Config, path string, hw *drivers.Hardware, log *slog.Logger) (*config.Config, error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	reloaded := make(chan *config.Config, 1)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		if next := awaitReload(ctx, path, log); next != nil {
			reloaded <- next
			end()
		}
	}()
	err := runOne(ctx, cfg, hw, log)
	stopped := ctx.Err() != nil
	end()
	<-watching
	select {
	case next := <-reloaded:
		return next, nil
	default:
	}
	if stopped && errors.Is(err, context.Canceled) {
		log.Info("holdfast stopped")
		return nil, nil
	}
	return nil, err
}

// awaitReload waits for a SIGHUP and a file that is good, all or nothing; nil
// when ctx is done.
func awaitReload(ctx context.Context, path string, log *slog.Logger) *config.Config {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
		if path == "-" {
			log.Error("the configuration came from standard input: it cannot be read again")
			continue
		}
		next, err := load(path)
		if err == nil {
			log.Info("configuration read again", "file", path)
			return &next
		}
		log.Error("configuration not changed: the file is wrong", "err", err)
	}
}

// runOne runs the agent, and its own broker if it has one.
func runOne(ctx context.Context, cfg config.Config, hw *drivers.Hardware, log *slog.Logger) error {
	if cfg.Embedded != nil {
		password, err := cfg.Embedded.Password.Read()
		if err != nil {
			return mistake{err}
		}
		b, err := broker.Listen(cfg.Embedded.Listen, password, quiet(log))
		if err != nil {
			return err
		}
		defer b.Close()
	}
	return serve(ctx, cfg, hw.Open, uplink.DialMQTT(cfg.Uplink), log)
}

// check reads the configuration and says everything that is wrong with it. It
// opens no device and no secret, so it works off the target.
func check(_ context.Context, args []string) error {
	f := flags("check")
	path := configFlag(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	cfg, err := config.Load(*path)
	if err != nil {
		return err
	}
	fmt.Printf("%s: ok, %d sensors, %d streams\n", *path, len(cfg.Sensors), len(cfg.Uplink.Streams))
	return nil
}
