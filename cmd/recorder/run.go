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

// rollEvery is how long the rollups may be behind the readings.
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

// run records until ctx is done. What waits is committed and acknowledged first.
func run(ctx context.Context, args []string) error {
	l := flags("run")
	if _, err := l.parse(args, 0, 0); err != nil {
		return err
	}
	cfg, err := l.load(ctx)
	if err != nil {
		return err
	}
	// A person may set another limit. It bounds the heap of Go, of which SQLite's caches are
	// a part, since the driver is Go, too.
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(32 << 20) // the collector works more before the process grows
	}
	// The database first: without it nothing could be acknowledged.
	s, err := store.Open(ctx, storeOptions(cfg))
	if err != nil {
		return err
	}
	defer s.Close()
	// Standard error is what systemd puts into the journal.
	log := slog.New(slog.NewTextHandler(stderr, nil))
	// Deferred calls run in reverse: the store is closed when both have ended.
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, stop := context.WithCancel(ctx) // an error of Run ends the others, too
	defer stop()
	beside.Go(func() { rollUp(ctx, s, log) })
	if cfg.Status != nil {
		beside.Go(func() { page.Serve(ctx, cfg.Status, s, log) })
	}
	// The result is nil after SIGTERM: a stop that was asked for is a success.
	return ingest.Run(ctx, ingest.Options{
		Subscribe: subscribe.Options{Broker: cfg.Broker},
		Share:     cfg.Share,
		NATS:      natsOptions(cfg),
		Size:      cfg.BatchSize, Time: cfg.BatchTime, Log: log,
	}, s)
}

// natsOptions is where the recorder finds NATS; nil if it records from a broker. The
// server notes under one name what a recorder, or its group, has acknowledged.
func natsOptions(cfg config.Recorder) *jetstream.Options {
	if cfg.NATS == nil {
		return nil
	}
	n := cfg.NATS
	return &jetstream.Options{Servers: n.Servers, Consumer: cmp.Or(cfg.Share, cfg.Broker.ClientID),
		Username: n.Username, Password: n.Password, TLS: n.TLS, Keep: n.Keep}
}

// rollUp computes the hours that change until ctx is done. What it misses at the end
// is marked in the database.
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
		// An error is not the end: the marks stay, and the next turn finds them.
		if _, err := s.RollUp(ctx); err != nil && ctx.Err() == nil {
			log.Error("hours cannot be computed; it is tried again", "error", err)
		}
	}
}
