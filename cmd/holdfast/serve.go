package main

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink"
)

// serve is the agent: readings move from the sensors through the queue to the
// broker, until ctx is done.
func serve(ctx context.Context, cfg config.Config, open sensors.Open, dial uplink.Dial, log *slog.Logger) error {
	clock := sensors.NewTimekeeper(cfg.Clock)
	cfg.Queue.Clock, cfg.Uplink.Clock = clock, clock
	q, err := queue.Open(cfg.Queue, log)
	if err != nil {
		return err
	}
	cfg.Uplink.Boot, cfg.Uplink.Report, cfg.Uplink.Declare, cfg.Uplink.Stats = q.Boot(), q.Report, q.Declare, q.Stats
	link := uplink.New(cfg.Uplink, q, dial, log)
	log.Info("holdfast starts", "version", cfg.Uplink.Version, "client_id", cfg.Uplink.ClientID, "boot", q.Boot(), "backlog", q.Stats().Backlog)

	record := func(r sensors.Reading) {
		link.Observe(r) // what is true now
		q.Put(r)        // what happened
	}

	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	writer := new(errgroup.Group) // ends last: until then an alarm is on disk when Put returns
	writer.Go(func() error { return q.Run(writing) })

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return sensors.Run(ctx, cfg.Sensors, sensors.Wiring{Open: open, Record: record, Report: q.Report, Clock: clock, Log: log})
	})
	g.Go(func() error { return clock.Run(ctx, q.Report) })
	g.Go(func() error { return link.Run(ctx) })
	g.Go(func() error { return control.Serve(ctx, cfg.Queue.Path, q, log) })
	err = g.Wait()
	stopWriting()
	writer.Wait()
	if closed := q.Close(); closed != nil {
		return errors.Join(err, closed)
	}
	return err
}
