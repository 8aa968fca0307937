package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/systemd"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers/output"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/uplink"
)

// surroundings are what serve connects a configuration to.
type surroundings struct {
	open     sensors.Open
	openLine outputs.Open
	log      *slog.Logger
	manager  *systemd.Notifier // nil: systemd does not listen

	changed      func(sensors.Reading) // called at once with each reading of an output; nil: not called
	problems     func() []string       // what a person should repair on this machine; nil: there is no search
	awaitNetwork func(ctx context.Context, back chan<- struct{}) error
	opener       *opener              // of the queue; nil: there is no earlier queue in this process
	unsaved      *queue.Unsaved       // what the previous queue could not write
	reloads      <-chan config.Config // configurations for which isSameBase holds; nil: there are no reloads
}

// serve runs the agent until ctx is done: readings go from the sensors through the queue
// to the broker. It returns what the queue could not write; nil if it was never open.
func serve(ctx context.Context, cfg config.Config, around surroundings) (*queue.Unsaved, error) {
	log, manager := around.log, around.manager
	clock := clock.NewTimekeeper(cfg.Clock)
	opt := cfg.Queue // cfg stays as it was read: a reload compares
	opt.Clock, opt.Unsaved, opt.Progress = clock, around.unsaved, manager.Loop("queue writer")
	defer manager.Forget()
	q, err := around.opener.open(ctx, opt, log)
	if err != nil {
		return nil, err
	}
	log.Info("holdfast starts", "version", cfg.Uplink.Version, "client_id", cfg.Uplink.ClientID,
		"boot", q.Boot(), "backlog", q.Stats().Backlog)
	changing := newReloadable(cfg, q, clock, around) // the sensors, the link and the page
	agent := control.Agent{Queue: q, Snapshot: changing.snapshot, MakeSafe: changing.reacts.makeSafe,
		Updated: reportUpdate(q, clock)}

	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	// The queue's writer ends last: until then it writes each alarm at once.
	writer := new(errgroup.Group)
	writer.Go(func() error { return q.Run(writing) })

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return clock.Run(ctx, reportSteps(q)) })
	g.Go(func() error { return changing.run(ctx) })
	// The control socket is a file: its disk may hang, and only closeQueue limits that wait.
	writer.Go(func() error { return control.Serve(ctx, cfg.Queue.Path, agent, log) })
	err = g.Wait()
	stopWriting()
	return closeQueue(q, writer), err
}

// statusLine returns the line that `systemctl status` shows.
func statusLine(at uplink.Status, st queue.Stats) string {
	words := "connected to " + at.Server
	if !at.Connected {
		words = "not " + words
	}
	words += fmt.Sprintf(", backlog %d", st.Backlog)
	if st.Dropped > 0 {
		words += fmt.Sprintf(", dropped %d", st.Dropped)
	}
	if st.Failing {
		words += ", storage fails"
	}
	if !at.Connected && at.LastError != "" {
		words += ": " + at.LastError
	}
	return words
}

// reportSteps returns a function that reports a step of the wall clock as an event.
func reportSteps(q *queue.Queue) func(clock.Step) {
	return func(s clock.Step) { q.Report(sensors.Event{Name: "clock_step", At: s.At, Details: s.Details()}) }
}

// reportUnclean reports as an event that the agent's previous run did not end gracefully.
func reportUnclean(q *queue.Queue, clock *clock.Timekeeper) {
	q.Report(sensors.Event{Name: "unclean_start", At: clock.Now(),
		Details: json.RawMessage(fmt.Sprintf(`{"last":%d}`, q.UncleanStart()))})
}

// reportUpdate returns a function that reports the outcome of an update as an event.
func reportUpdate(q *queue.Queue, clock *clock.Timekeeper) func(details json.RawMessage) {
	return func(details json.RawMessage) {
		q.Report(sensors.Event{Name: "update", At: clock.Now(), Details: details})
	}
}

// serveOnce is serve for a caller that starts no second agent in this process: the error
// includes what the queue could not write.
func serveOnce(ctx context.Context, cfg config.Config, open sensors.Open, changed func(sensors.Reading),
	log *slog.Logger) error {
	around := surroundings{open: open, openLine: output.NewStandalone().Open, changed: changed, log: log}
	left, err := serve(ctx, cfg, around)
	if failed := left.Err(); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// closeTimeout is how long the agent waits for the disk when it ends.
const closeTimeout = 5 * time.Second

var errHangs = errors.New("the disk hangs: what was in memory only could not be written")

// closeQueue closes the queue after its writer has ended. If the disk hangs it returns
// after closeTimeout; the goroutine that waits for the disk then ends with the process.
func closeQueue(q *queue.Queue, writer *errgroup.Group) *queue.Unsaved {
	closed := make(chan error, 1)
	go func() { writer.Wait(); closed <- q.Close() }()
	select {
	case err := <-closed:
		return q.Unsaved(err, false)
	case <-time.After(closeTimeout):
		return q.Unsaved(errHangs, true)
	}
}
