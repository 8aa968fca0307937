package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/access"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/sensors/rules"
	orders "github.com/holdfast-iot/holdfast/uplink/command"
)

// reactions are the parts of the agent that react to readings without the network, before a
// reading is written to disk: the outputs, the rules, the alarm panel and the doors. A reload
// keeps them and changes only what differs.
type reactions struct {
	outputs *outputs.Set
	rules   *rules.Runner
	doors   doors
	memory  *orders.Memory // of orders by MQTT
	copy    *runningCopy
	log     *slog.Logger
}

// newReactions returns reactions whose readings are observed and recorded like those of
// sensors. Observing does not block; queue.Add may wait for room in memory.
func newReactions(a *reloadable) *reactions {
	r := &reactions{outputs: outputs.NewSet(outputs.Wiring{Open: a.openLine,
		Observe: a.observeOutput, Record: a.queue.Add, Report: a.queue.Report, Clock: a.clock, Log: a.log, Seqs: a.seqs,
		Watch: func(output string) func(time.Duration) { return a.manager.Loop("output " + output) }}),
		memory: orders.NewMemory(a.queue.Boot()), copy: newRunningCopy(writeRunning, a.log), log: a.log}
	state := arming.NewStore(filepath.Join(filepath.Dir(a.cfg.Queue.Path), arming.FileName))
	r.rules = rules.NewRunner(rules.Wiring{Do: r.outputs.Do, Store: state,
		Observe: a.observe, Record: a.queue.Add, Report: a.queue.Report, Clock: a.clock, Log: a.log, Seqs: a.seqs})
	r.doors.to = access.Wiring{Boot: a.queue.Boot(), Questions: r.memory, Online: a.isOnline, Do: r.outputs.Do,
		Report: a.queue.Report, Now: a.clock.Now, Log: a.log}
	return r
}

// change runs the outputs and doors of cfg, until ctx is done. between is called after the
// old outputs have ended and before the new ones start; kept are the streams of the outputs
// and the panel that did not change.
func (r *reactions) change(ctx context.Context, cfg config.Config, between func(kept []sensors.Stream)) {
	r.outputs.Change(ctx, cfg.Outputs, func(kept []outputs.Spec) {
		streams := outputs.Streams(kept)
		if _, ok := r.rules.Status(); ok && cfg.Arming != nil {
			streams = append(streams, sensors.Stream{Name: arming.StreamName})
		}
		between(streams)
		r.copy.save(cfg)
	})
	r.doors.change(ctx, cfg.Access)
}

// changeRules sets the rules and the panel of cfg. The outputs of cfg have to run already,
// because a panel that was triggered sends orders at once. known are the latest readings of
// the streams that did not change.
func (r *reactions) changeRules(cfg config.Config, known []sensors.Reading) {
	for _, reading := range known {
		r.outputs.Observe(reading) // it may confirm an output that is new
	}
	r.rules.Change(cfg.Rules, cfg.Arming, known)
}

// observe takes each reading, before the queue and the link. It may be called from any
// goroutine and does not block.
func (r *reactions) observe(reading sensors.Reading) {
	r.rules.Observe(reading)
	r.outputs.Observe(reading)
	r.doors.observe(reading)
}

// safeTimeout is how long the link waits at the end for outputs to become safe: an output
// whose bus hangs must not prevent the link from publishing that the agent is offline.
const safeTimeout = time.Second

// waitFor waits until done is closed, at most for limit.
func waitFor(done <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// ended returns a channel that is closed when the context of change is done, every output has
// ended at its safe level, and its last reading is recorded.
func (r *reactions) ended() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		r.outputs.Wait()
		r.doors.running.Wait()
		close(ended)
	}()
	return ended
}

// makeSafe sets every output to its safe level. It may be called from any goroutine, and waits
// at most two seconds. The error names the outputs that are not safe.
func (r *reactions) makeSafe() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return r.outputs.Safe(ctx)
}

// Outputs returns the current status of the outputs. It may be called from any goroutine.
func (r *reactions) Outputs() []outputs.Status { return r.outputs.Status() }

// Arming returns the current status of the alarm panel; nil: there is none. It may be called
// from any goroutine.
func (r *reactions) Arming() *arming.Status {
	if s, ok := r.rules.Status(); ok {
		return &s
	}
	return nil
}
