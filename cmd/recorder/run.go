package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/ingest"
	"github.com/holdfast-iot/holdfast/cmd/recorder/jetstream"
	"github.com/holdfast-iot/holdfast/cmd/recorder/page"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
	"github.com/holdfast-iot/holdfast/config"
)

// rollEvery is the interval of the rollups: so long they may be behind the readings.
const rollEvery = 30 * time.Second

// release and commit are set by build/release with -ldflags -X.
var (
	release = "0.1.0-dev"
	commit  = "unknown"
)

// version prints one line, for a bug report.
func version(_ context.Context, args []string) error {
	if _, err := flags("version").parse(args, 0, 0); err != nil {
		return err
	}
	// One line, as holdfast version prints it.
	fmt.Fprintf(stdout, "holdfast-recorder %s (commit %s, %s, %s/%s)\n", release, commit, runtime.Version(), runtime.GOOS,
		runtime.GOARCH)
	return nil
}

// run records until ctx is done. A batch that is being committed then is still committed
// and acknowledged.
func run(ctx context.Context, args []string) error {
	l := flags("run")
	if _, err := l.parse(args, 0, 0); err != nil {
		return err
	}
	cfg, err := l.load(ctx)
	if err != nil {
		return err
	}
	// A person may set another limit with GOMEMLIMIT. It includes SQLite's caches, because the
	// driver is written in Go.
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(32 << 20) // near it, garbage is collected more often instead of growing
	}
	// systemd writes standard error to the journal.
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := checkFiles(ctx, cfg, log); err != nil {
		return err
	}
	// The database comes before the connection: without it no message could be acknowledged.
	s, err := store.Open(ctx, storeOptions(cfg))
	if err != nil {
		return err
	}
	defer s.Close()
	// Deferred calls run in reverse order: stop, then Wait, and the store is closed last.
	var background sync.WaitGroup
	defer background.Wait()
	ctx, stop := context.WithCancel(ctx) // an error of ingest.Run ends the rollups and the page too
	defer stop()
	background.Go(func() { rollUp(ctx, s, log) })
	if cfg.Status != nil {
		background.Go(func() { page.Serve(ctx, cfg.Status, s, log) })
	}
	// ingest.Run returns nil after SIGTERM: a stop that the user asked for is a success.
	return ingest.Run(ctx, ingest.Options{
		Subscribe: subscribe.Options{Broker: cfg.Broker},
		Share:     cfg.Share,
		NATS:      natsOptions(cfg),
		Size:      cfg.BatchSize, Time: cfg.BatchTime, Log: log,
	}, s)
}

// checkFiles returns a usageError if the password or a certificate for the MQTT broker cannot be
// used. Later they are read again for each connection, and an error is logged.
func checkFiles(ctx context.Context, cfg config.Recorder, log *slog.Logger) error {
	if cfg.NATS != nil {
		return nil
	}
	warnings, err := cfg.Broker.Check(ctx)
	for _, w := range warnings {
		log.Warn("configuration", "warning", w)
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

// natsOptions returns the options of the NATS source; nil: the recorder records from an MQTT
// broker. The NATS server keeps the acknowledged position for each consumer name: that of
// the recorder, or of its group.
func natsOptions(cfg config.Recorder) *jetstream.Options {
	if cfg.NATS == nil {
		return nil
	}
	n := cfg.NATS
	return &jetstream.Options{Servers: n.Servers, Consumer: cmp.Or(cfg.Share, cfg.Broker.ClientID),
		Username: n.Username, Password: n.Password, TLS: n.TLS, Keep: n.Keep}
}

// rollUp computes the rollups of changed hours every rollEvery until ctx is done. Hours that
// are not computed stay marked in the database for the next start.
func rollUp(ctx context.Context, s *store.Store, log *slog.Logger) {
	// A ticker drops ticks while a long computation runs, so they do not pile up.
	t := time.NewTicker(rollEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// After an error the marks stay, and the next tick tries again.
		if _, err := s.RollUp(ctx); err != nil && ctx.Err() == nil {
			log.Error("hours cannot be computed; it is tried again", "error", err)
		}
	}
}
